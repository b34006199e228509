"""Spans and metrics of a client, through OpenTelemetry's API; nothing at all without it.

===================== ==============================================================================
span                  what it covers
===================== ==============================================================================
``koodrive.session``  a backup session, from taking the lock to giving it back
``koodrive.upload``   one file
``koodrive.hash``     the pass that hashes it, with the wait for its turn
``koodrive.create``   announcing it, until the service has said what it does with it
``koodrive.part``     one attempt to send one part, with the wait for a connection
``koodrive.refresh``  asking for presigned URLs
``koodrive.complete`` the completing call, with all that has to be mended before it works
===================== ==============================================================================

=========================  ========  ==============================================================
metric                     unit      what it says
=========================  ========  ==============================================================
``koodrive.upload.bytes``  bytes     content that the object store has acknowledged
``koodrive.upload.parts``  parts     how many it has acknowledged
``koodrive.retries``       requests  parts and calls that were sent again
``koodrive.loop.lag``      seconds   how long the event loop took to notice work that had ended:
                                     what it was late by, whatever kept it busy
=========================  ========  ==============================================================

A span that ended with an error has its class in ``error.type`` and its text as description, one
that was cancelled has ``koodrive.cancelled``. Names of files are in the spans; tokens and presigned
URLs never are.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Literal, Protocol

import attrs

from koodrive_async._version import __version__
from koodrive_async.extras import needed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

Attribute = str | int | float | bool | None

_NAME: Final = "koodrive_async"


@attrs.frozen(kw_only=True)
class Telemetry:
    """Where the spans and metrics of a client go; needs the extra ``otel``.

    :param tracer_provider: The global one by default.
    :param meter_provider: The global one by default.
    """

    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None


class ActiveSpan(Protocol):
    """A span that is being made."""

    def add(self, **attributes: Attribute) -> None:
        """Say more; names go behind ``koodrive.``, and None is left out."""


class Instruments(Protocol):
    """What the parts of one client report."""

    def span(
        self, name: str, parent: ActiveSpan | None = None, /, **attributes: Attribute
    ) -> AbstractContextManager[ActiveSpan]:
        """Cover the block with a span, which is the current one inside it.

        :param name: Goes behind ``koodrive.``, as do those of the attributes.
        :param parent: Where it belongs when there is no current one, or the current one is that
            in which the parent began.
        """
        ...

    def arrived(self, size: int) -> None:
        """Count a part that was acknowledged, in bytes."""

    def retried(self, number: int = 1) -> None:
        """Count requests that are sent again."""

    def late(self, seconds: float) -> None:
        """Note how long the event loop took to notice something."""


def instruments(telemetry: Telemetry | Literal["auto"] | None) -> Instruments:
    """Return what a client reports with.

    :param telemetry: None for nothing; ``"auto"`` for OpenTelemetry's global providers in a program
        that has loaded it.
    :raises ModuleNotFoundError: OpenTelemetry is wanted and not installed.
    """
    if telemetry == "auto":
        telemetry = Telemetry() if "opentelemetry.trace" in sys.modules else None
    if telemetry is None:
        return SILENT
    with needed("Telemetry", "opentelemetry", "otel"):
        return _Recording(telemetry)


class _Recording:
    def __init__(self, telemetry: Telemetry) -> None:
        from opentelemetry import context, metrics, trace  # noqa: PLC0415 - an extra

        self._context = context
        self._trace = trace
        tracers = telemetry.tracer_provider or trace.get_tracer_provider()
        self._tracer = tracers.get_tracer(_NAME, __version__)
        meters = telemetry.meter_provider or metrics.get_meter_provider()
        meter = meters.get_meter(_NAME, __version__)
        self._bytes = meter.create_counter(
            "koodrive.upload.bytes", "By", "Content that the object store has acknowledged"
        )
        self._parts = meter.create_counter(
            "koodrive.upload.parts", "{part}", "Parts that the object store has acknowledged"
        )
        self._retries = meter.create_counter(
            "koodrive.retries", "{request}", "Requests that were sent again"
        )
        self._lag = meter.create_histogram(
            "koodrive.loop.lag", "s", "What the event loop was late by"
        )

    @contextmanager
    def span(
        self, name: str, parent: ActiveSpan | None = None, /, **attributes: Attribute
    ) -> Iterator[ActiveSpan]:
        around = self._trace.get_current_span()
        context = None
        if isinstance(parent, _RecordedSpan) and (
            around is parent.around or not around.get_span_context().is_valid
        ):
            context = self._trace.set_span_in_context(parent.span)
        span = self._tracer.start_span(f"koodrive.{name}", context, attributes=_named(attributes))
        token = self._context.attach(self._trace.set_span_in_context(span))
        try:
            yield _RecordedSpan(span, around)
        except Exception as error:
            # what a traceback says of causes may be the user's own secret: the error's text must do
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(self._trace.StatusCode.ERROR, str(error))
            raise
        except BaseException:
            span.set_attribute("koodrive.cancelled", value=True)
            raise
        finally:
            self._context.detach(token)
            span.end()

    def arrived(self, size: int) -> None:
        self._bytes.add(size)
        self._parts.add(1)

    def retried(self, number: int = 1) -> None:
        self._retries.add(number)

    def late(self, seconds: float) -> None:
        self._lag.record(seconds)


@attrs.frozen
class _RecordedSpan:
    """A span.

    :ivar around: What was current when it began.
    """

    span: Span
    around: Span

    def add(self, **attributes: Attribute) -> None:
        self.span.set_attributes(_named(attributes))


def _named(attributes: Mapping[str, Attribute]) -> dict[str, str | int | float | bool]:
    return {f"koodrive.{name}": value for name, value in attributes.items() if value is not None}


class _Silent:
    def span(
        self,
        name: str,  # noqa: ARG002 - nothing is told
        parent: ActiveSpan | None = None,  # noqa: ARG002 - the same
        /,
        **attributes: Attribute,  # noqa: ARG002 - the same
    ) -> AbstractContextManager[ActiveSpan]:
        return _NO_SPAN

    def arrived(self, size: int) -> None: ...

    def retried(self, number: int = 1) -> None: ...

    def late(self, seconds: float) -> None: ...


class _SilentSpan:
    def add(self, **attributes: Attribute) -> None: ...


_NO_SPAN: Final = nullcontext(_SilentSpan())
SILENT: Final[Instruments] = _Silent()
"""Tells nothing, and costs nothing."""
