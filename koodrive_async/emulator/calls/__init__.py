"""What each documented call does, by the name of its route."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from koodrive_async.emulator.call import Call
from koodrive_async.emulator.calls import (
    configs,
    details,
    devices,
    files,
    listings,
    locks,
    records,
    scopes,
    spaces,
    tokens,
    uploads,
)

Act = Callable[[Call], Mapping[str, Any]]
"""Acts and returns the payload of the answer."""

CALLS: Final[Mapping[str, Act]] = {
    "devices.bind": devices.bind,
    "devices.list": devices.list_bound,
    "devices.unbind": devices.unbind,
    "configs.list": configs.list_infos,
    "configs.get": configs.get_info,
    "configs.update": configs.update_info,
    "scopes.add": scopes.add,
    "scopes.list": scopes.list_scopes,
    "scopes.delete": scopes.delete,
    "locks.create": locks.create,
    "locks.renew": locks.renew,
    "locks.release": locks.release,
    "records.create": records.create,
    "records.list": listings.list_records,
    "records.get": records.get,
    "records.complete": records.complete,
    "records.delete": records.delete,
    "files.create": files.create_in_record,
    "files.list": listings.list_files,
    "files.create_ordinary": files.create_ordinary,
    "files.part_urls": uploads.part_urls,
    "files.complete": uploads.complete,
    "files.download_urls": uploads.download_urls,
    "files.details": details.get,
    "spaces.get": spaces.get,
    "spaces.list": spaces.list_spaces,
    "tokens.login": tokens.login,
    "tokens.refresh": tokens.refresh,
}
