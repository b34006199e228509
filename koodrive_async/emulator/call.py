"""One call of the interface, checked and ready to act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.emulator.service import Service


@attrs.frozen(kw_only=True)
class Call:
    """What a call was made with; every field rule is already checked.

    :param route: the name of the call.
    :param user_id: who is signed in; empty for the login call.
    :param origin: the value that proofCodes of this request start from.
    :param session: what stands for the device that calls.
    :param now: the moment of the call, in epoch seconds.
    :param ids: the ids in the path.
    :param lock_id: the backup lock, where the call wants one.
    """

    service: Service
    route: str
    user_id: str
    origin: str = attrs.field(repr=False)
    session: str = attrs.field(repr=False)
    now: float
    ids: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    lock_id: str = ""
