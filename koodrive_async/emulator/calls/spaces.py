"""Storage spaces: GetSpace (one space) and GetSpaceV2 (all of a user)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from koodrive_async.emulator.answers import invalid, not_found
from koodrive_async.emulator.calls.files import check_container, root_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from koodrive_async.emulator.call import Call

INDIVIDUAL: Final = "1"
ACTIVE: Final = "1"
CAPACITY: Final = 2**40


def get(call: Call) -> Mapping[str, Any]:
    """GetSpace: the space of the user; with several, the one that ``containerId`` names.

    Only individual spaces exist here, so no other type is found.
    """
    _check_owner(call)
    if call.query["type"] != INDIVIDUAL:
        raise not_found("The user has no space of this type.")
    default, *others = call.service.settings.containers
    if "containerId" in call.query:
        return {"data": _shape(call, check_container(call, call.query["containerId"]))}
    if others:
        raise invalid("containerId: is mandatory when there are several individual spaces")
    return {"data": _shape(call, default)}


def list_spaces(call: Call) -> Mapping[str, Any]:
    """GetSpaceV2: all spaces of the user, the default one first."""
    _check_owner(call)
    if call.query.get("type", INDIVIDUAL) != INDIVIDUAL:
        return {"data": []}
    return {"data": [_shape(call, each) for each in call.service.settings.containers]}


def _check_owner(call: Call) -> None:
    """Rule: users see their own spaces only."""
    if call.ids["ownerId"] != call.user_id:
        raise not_found(f"No space belongs to {call.ids['ownerId']}.")


def _shape(call: Call, container_id: str) -> dict[str, Any]:
    """Return a space as SpaceInfoV2, in which every value is a string."""
    used: int = call.service.store.value(
        "SELECT COALESCE(SUM(length), 0) FROM files"
        " WHERE user_id = ? AND container_id = ? AND completed IS NOT NULL",
        call.user_id,
        container_id,
    )
    root = root_folder(container_id)
    return {
        "type": INDIVIDUAL,
        "status": ACTIVE,
        "ownerId": call.user_id,
        "containerId": container_id,
        "bizRootFileId": root,
        "bizSboxFileId": root + "sbox",
        "capacity": str(CAPACITY),
        "spaceUsed": str(used),
        "tenantId": "emulator",
        "rootFileId": root,
    }
