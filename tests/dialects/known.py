"""What the client does not survive yet: each dialect with the reason, until it is mended."""

from __future__ import annotations

KNOWN = {
    "unfinished_record=refused": "an unfinished upload of a killed run stays in the record",
}

BY_CHANCE = {"unfinished_record=refused"}
"""Those in which the order of requests decides whether the fault is met."""
