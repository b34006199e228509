"""The kinds of backup the service knows."""

from __future__ import annotations

from enum import StrEnum


class Module(StrEnum):
    """``moduleCode``: what is backed up."""

    FOLDER = "100"
    ALBUM = "101"
    ADDRESS_BOOK = "102"
