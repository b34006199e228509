"""What settings are where nobody says anything."""

from __future__ import annotations

from contextlib import suppress

import click

from koodrive_async.cli.known_settings import PROXY_OF_ENVIRONMENT, SETTINGS
from koodrive_async.cli.machine import this_machine
from koodrive_async.config import Limits, RetryPolicy
from koodrive_async.upload.journal import default_path


def default_values() -> dict[str, object]:
    """Return the values by the names of settings; None where there is none. It blocks."""
    values: dict[str, object] = {
        name: () if setting.takes_many else None for name, setting in SETTINGS.items()
    }
    values |= {
        "proxy": PROXY_OF_ENVIRONMENT,
        "truststore": False,
        "module": "folder",
        "connections": "auto",
        "memory": Limits().memory,
        "journal": default_path(),
        "verify": False,
        "wait": 0.0,
        "outage": RetryPolicy().outage,
    }
    with suppress(click.UsageError):  # a machine without a stable id has to be told one
        machine = this_machine()
        values |= {"device_name": machine.name, "machine_code": machine.code}
    return values
