"""``koodrive doctor``: whether everything is there that a backup needs."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING, Final

import aiohttp
import attrs
import click

from koodrive_async import __version__
from koodrive_async.cli.exits import ExitCode
from koodrive_async.cli.running import run
from koodrive_async.cli.wording import reason, speed_text
from koodrive_async.client import KooDrive
from koodrive_async.config import RetryPolicy, Timeouts, read_environment
from koodrive_async.errors import ApiError, KooDriveError, TransportError
from koodrive_async.hashing import Sha256, backend

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def doctor() -> None:
    """Check this machine, the settings and the service."""
    failed = 0
    for check in _checks():
        failed += not check.ok
        verdict = click.style("ok", fg="green") if check.ok else click.style("failed", fg="red")
        click.echo(
            f"{verdict:<{6 + len(verdict) - len(click.unstyle(verdict))}}  "
            f"{check.name:<12}  {check.found}"
        )
        if check.hint is not None:
            click.echo(f"{'':<22}hint: {check.hint}")
    if failed:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _checks() -> Iterator[Check]:
    yield Check(
        "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    )
    yield Check("packages", f"koodrive-async {__version__}, aiohttp {aiohttp.__version__}")
    yield _hashing()
    try:
        drive, found = _connect()
    except (KooDriveError, ValueError) as error:
        yield Check("settings", reason(error), "set these variables, see koodrive --help")
        return
    yield found
    yield from run(lambda: _service(drive))


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


def _connect() -> tuple[KooDrive, Check]:
    found = read_environment()
    # a doctor says at once what is wrong, where a backup would try again and wait
    drive = KooDrive.from_env(
        retry=RetryPolicy(attempts=1), timeouts=Timeouts(connect=5.0, answer=15.0)
    )
    signs_in_with = "a token" if found.token is not None else "an app signature"
    return drive, Check("settings", f"{drive.endpoint}, signing in with {signs_in_with}")


async def _service(drive: KooDrive) -> list[Check]:
    began = time.perf_counter()
    try:
        async with drive:
            devices = await drive.devices.list()
    except TransportError as error:
        return [Check("service", reason(error), "check KOODRIVE_ENDPOINT, the network and TLS")]
    except ApiError as error:
        answered = Check("service", f"answers in {time.perf_counter() - began:.3f} s")
        refused = Check(
            "signing in",
            f"HTTP {error.status}, code {error.code}: {error.msg} (trace id {error.trace_id})",
            "renew KOODRIVE_TOKEN or check the app secret, and check KOODRIVE_USER_ID",
        )
        return [answered, refused, _clock(drive)]
    return [
        Check("service", f"answers in {time.perf_counter() - began:.3f} s"),
        Check("signing in", f"accepted; {len(devices)} bound devices"),
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
