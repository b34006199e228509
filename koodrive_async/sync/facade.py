"""Methods of asynchronous objects, made into blocking ones."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from koodrive_async.callbacks import check_plain
from koodrive_async.sync.call import Call
from koodrive_async.sync.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from koodrive_async.sync.portal import Portal

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Facade(Generic[A]):
    """The blocking face of an asynchronous object.

    :param of: The object; it lives in the thread of the portal.
    :param portal: How to get there.
    """

    def __init__(self, of: A, portal: Portal) -> None:
        self._of = of
        self._portal = portal

    def __repr__(self) -> str:
        told = repr(self._of)
        return f"<sync {told[1:]}" if told.startswith("<") else f"sync.{told}"


def blocking(
    method: Callable[Concatenate[A, P], Awaitable[T]],
) -> Callable[Concatenate[Facade[A], P], T]:
    """Return a method that calls an asynchronous one and waits for what it returns.

    Name, parameters, types and docstring stay the same. ``on_progress`` is called in the thread
    that waits.
    """

    def call(facade: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        relay = relayed(kwargs)
        run = partial(method, facade._of, *args, **kwargs)  # noqa: SLF001 - its own method
        return facade._portal.finish(Call(run), relay)  # noqa: SLF001 - the same

    return described_by(method, call)


def like(
    method: Callable[P, object],
) -> Callable[[Callable[Concatenate[S, ...], R]], Callable[Concatenate[S, P], R]]:
    """Give a method the parameters of a bound method, or of a class."""

    def describe(call: Callable[Concatenate[S, ...], R]) -> Callable[Concatenate[S, P], R]:
        own, other = inspect.signature(call), inspect.signature(method)
        first = next(iter(own.parameters.values()))
        call.__signature__ = other.replace(parameters=[first, *other.parameters.values()])  # type: ignore[attr-defined]  # a documented attribute
        described: Callable[Concatenate[S, P], R] = call
        return described

    return describe


def relayed(kwargs: dict[str, Any]) -> Relay | None:
    """Put a relay in the place of ``on_progress``, if that is among the arguments."""
    if kwargs.get("on_progress") is None:
        return None
    check_plain("on_progress", kwargs["on_progress"])
    relay = kwargs["on_progress"] = Relay(kwargs["on_progress"])
    return relay


def described_by(method: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function the name, docstring and signature of a method, but not its being async."""
    call.__name__, call.__qualname__ = method.__name__, method.__qualname__
    call.__doc__ = method.__doc__
    # not functools.wraps: tools that follow its trace would take this for a coroutine function
    call.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]  # a documented attribute
    return call
