"""What this machine is called, and what tells it from every other."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
import uuid
from pathlib import Path
from typing import Final

import attrs
import click

CODE: Final = "[a-zA-Z0-9_]{1,64}"
"""The form of a machine code, as a regular expression."""

_MACHINE_ID_FILES: Final = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_NOT_YET: Final = "uninitialized"
"""Content of ``/etc/machine-id`` before the first boot of an image, the same on every machine."""

_MADE_UP: Final = 1 << 40  # the multicast bit: set by uuid.getnode() in a number that it made up
_NAME_LENGTH: Final = 32


@attrs.frozen
class Machine:
    """What a device is bound with.

    :ivar code: What tells it from every other machine.
    """

    code: str
    name: str
    os: str


def this_machine(code: str | None = None, name: str | None = None) -> Machine:
    """Return this machine, in the characters that the interface allows. It blocks.

    :param code: By default 32 hexadecimal digits that are the same in every run.
    :param name: Any text; the host's name by default.
    :raises click.UsageError: The code is not allowed, or this machine has nothing that stays the
        same.
    """
    if code and not re.fullmatch(CODE, code):
        raise click.UsageError(
            f"--machine-code must be 1 to 64 letters, digits and underscores, not {code!r}"
        )
    return Machine(code or _machine_code(), _device_name(name or platform.node()), _device_os())


def made_up_machine() -> Machine:
    """Return this machine with a one-time id, where no later run has to find the device."""
    return Machine(uuid.uuid4().hex, _device_name(platform.node()), _device_os())


def _machine_code() -> str:
    # a digest: the machine id itself should not leave the machine (man machine-id)
    return hashlib.sha256(f"koodrive-async {_machine_id()}".encode()).hexdigest()[:32]


def _device_name(wanted: str) -> str:
    name = re.sub(r"[^a-zA-Z0-9\-_ ]", "_", wanted)[:_NAME_LENGTH].strip()
    return name or "device"


def _device_os() -> str:
    return re.sub(r"[^a-zA-Z0-9_ ]", "_", platform.system())[:_NAME_LENGTH] or "unknown"


def _machine_id() -> str:
    for path in map(Path, _MACHINE_ID_FILES):
        try:
            found = path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if found and found != _NOT_YET:
            return found
    if sys.platform == "win32":
        return _machine_guid()
    return _hardware_address()


def _hardware_address() -> str:
    node = uuid.getnode()
    if node & _MADE_UP:
        raise click.UsageError(
            "this machine has no id that stays the same: give it one with --machine-code, "
            "KOODRIVE_MACHINE_CODE or machine_code in a profile"
        )
    return f"{node:012x}"


if sys.platform == "win32":
    import winreg

    def _machine_guid() -> str:
        with winreg.OpenKey(
            winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography"
        ) as cryptography:
            return str(winreg.QueryValueEx(cryptography, "MachineGuid")[0])
