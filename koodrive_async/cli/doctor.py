"""``koodrive doctor``: whether everything is there that a backup needs."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING, Final

import aiohttp
import attrs
import click
import yarl

from koodrive_async import __version__
from koodrive_async.cli.exits import ExitCode
from koodrive_async.cli.json_output import json_option, write_json
from koodrive_async.cli.known_settings import PROXY_OF_ENVIRONMENT
from koodrive_async.cli.running import run
from koodrive_async.cli.settings import connect, current
from koodrive_async.cli.wording import count_text, hint, printable, reason, speed_text
from koodrive_async.config import RetryPolicy, Timeouts
from koodrive_async.errors import ApiError, ConfigurationError, KooDriveError, TransportError
from koodrive_async.hashing import Sha256, backend
from koodrive_async.transport.proxy import Proxies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from koodrive_async.cli.access import Access
    from koodrive_async.cli.known_settings import Value
    from koodrive_async.cli.network import Network
    from koodrive_async.client import KooDrive

_BLOCK: Final = 2**20
_MEASURE_SECONDS: Final = 0.2
_SLOW: Final = 50 * 10**6
_CLOCK_PRECISION: Final = 2.0
_CLOCK_TOLERANCE: Final = 60.0


@attrs.frozen
class Check:
    """What was looked at and found.

    :ivar hint: What to do; only where something failed.
    """

    name: str
    found: str
    hint: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done."""
        return self.hint is None


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this machine, the settings and the service.

    With --json one object: checks, a list of name, ok, found, hint.
    """
    checks = []
    for check in _checks():
        checks.append(check)
        if not as_json:
            _show(check)
    if as_json:
        write_json({"checks": [attrs.asdict(check) | {"ok": check.ok} for check in checks]})
    if not all(check.ok for check in checks):
        raise click.exceptions.Exit(ExitCode.FAILED)


def _show(check: Check) -> None:
    verdict = click.style("ok", fg="green") if check.ok else click.style("failed", fg="red")
    click.echo(
        f"{verdict:<{6 + len(verdict) - len(click.unstyle(verdict))}}  "
        f"{check.name:<12}  {printable(check.found)}"
    )
    if check.hint is not None:
        click.echo(f"{'':<22}hint: {check.hint}")


def _checks() -> Iterator[Check]:
    yield Check(
        "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    yield Check("packages", f"koodrive-async {__version__}, aiohttp {aiohttp.__version__}")
    yield _hashing()
    try:
        settings = current()
    except ConfigurationError as error:
        yield _of_settings(error)
        return
    yield Check("profile", settings.profile_text)
    for value in settings.values.values():
        if value.given:
            yield _origin(value)
    try:
        access = settings.access()
        # a doctor says at once what is wrong, where a backup would try again and wait
        drive = connect(retry=RetryPolicy(attempts=1), timeouts=Timeouts(connect=5.0, answer=15.0))
    except (KooDriveError, ValueError) as error:
        yield _of_settings(error)
        return
    yield _origin(access.credentials)
    yield Check("settings", f"{access.endpoint}, signing in with {access.credentials.value}")
    yield run(lambda: _way(access, settings.network()))
    yield from run(lambda: _service(drive, access))


def _of_settings(error: Exception) -> Check:
    return Check("settings", reason(error), hint(error) or "see koodrive config explain")


def _origin(value: Value) -> Check:
    return Check(value.name, f"{value.text} ({value.source}: {value.where})")


async def _way(access: Access, network: Network) -> Check:
    url = yarl.URL(access.endpoint)
    tls = url.scheme == "https"
    try:
        proxy = await Proxies(network.proxy).toward(tls, url.host or "", url.port or 0)
    except ConfigurationError as error:
        return Check("network", reason(error), "correct it, or koodrive --proxy none doctor")
    if proxy is None:
        through = "no proxy"
    elif network.proxy == PROXY_OF_ENVIRONMENT:
        through = f"through the proxy {proxy.name}, which {proxy.named_by} names"
    else:
        through = f"through the proxy {proxy.name}"
    return Check("network", f"{through}; {network.trusted if tls else 'http: no certificates'}")


def _hashing() -> Check:
    try:
        name = backend()
    except (ValueError, RuntimeError) as error:
        return Check("sha-256", reason(error), "unset KOODRIVE_SHA256_BACKEND")
    hasher, block = Sha256(), os.urandom(_BLOCK)
    began = time.perf_counter()
    while (seconds := time.perf_counter() - began) < _MEASURE_SECONDS:
        hasher.update(block)
    found = f"{name}, {speed_text(hasher.length, seconds)} on one core"
    if hasher.length / seconds < _SLOW:
        return Check(
            "sha-256", found, "install OpenSSL's libcrypto: hashing will be the bottleneck"
        )
    return Check("sha-256", found)


async def _service(drive: KooDrive, access: Access) -> list[Check]:
    began = time.perf_counter()
    try:
        async with drive:
            devices = await drive.devices.list()
    except TransportError as error:
        return [Check("service", reason(error), "check the endpoint, the network and TLS")]
    except ApiError as error:
        answered = Check("service", f"answers in {time.perf_counter() - began:.3f} s")
        refused = Check(
            "signing in",
            f"HTTP {error.status}, code {error.code}: {error.msg} (trace id {error.trace_id})",
            f"renew what is in {access.credentials.where}, and check the user id",
        )
        return [answered, refused, _clock(drive)]
    except ConfigurationError as error:
        return [Check("signing in", reason(error), hint(error) or "koodrive login signs in again")]
    return [
        Check("service", f"answers in {time.perf_counter() - began:.3f} s"),
        Check("signing in", f"accepted; {count_text(len(devices), 'bound device')}"),
        _clock(drive),
    ]


def _clock(drive: KooDrive) -> Check:
    if not drive.service_time.known:
        return Check("clock", "the service does not say what time it is")
    offset = drive.service_time.offset
    if abs(offset) < _CLOCK_PRECISION:
        return Check("clock", "agrees with the service's to the second")
    found = (
        f"the service is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} this machine"
    )
    if abs(offset) > _CLOCK_TOLERANCE:
        return Check("clock", found, "set this machine's clock; requests correct for it meanwhile")
    return Check("clock", found)
