"""A file to upload, and how."""

from __future__ import annotations

import attrs

from koodrive_async.errors import InvalidArgument
from koodrive_async.models import AutoRename
from koodrive_async.resources.arguments import check_file_name
from koodrive_async.upload.folders import FoundFile  # noqa: TC001 - documentation resolves it
from koodrive_async.upload.source import Source, name_of

_TEXTS = ("description", "mime_type", "parent_folder", "container_id")


def _policy(value: AutoRename | int) -> AutoRename:
    try:
        return AutoRename(value)
    except ValueError:
        known = ", ".join(f"{policy.value} ({policy.name})" for policy in AutoRename)
        raise InvalidArgument(f"auto_rename must be one of {known}, not {value!r}") from None


@attrs.frozen(kw_only=True)
class UploadItem:
    """A file to upload, and how.

    :param source: A path, bytes, a binary file object or async reader, or an (async) iterable of
        bytes.
    :param name: Name in the record; by default the name that the source brings along.
    :param description: Free text that listings return.
    :param mime_type: Media type.
    :param parent_folder: Id of a folder in the space, or ``"root"``.
    :param container_id: Id of the space; by default the service chooses.
    :param auto_rename: What to do when the name is taken.
    :param part_size: Bytes of a part; by default what :func:`plan_parts` chooses.
    :param found: Set by a walk over a tree, whose files are opened without following links.
    """

    source: Source = attrs.field(repr=lambda source: f"<{type(source).__name__}>")
    name: str | None = None
    description: str | None = None
    mime_type: str | None = None
    parent_folder: str | None = None
    container_id: str | None = None
    auto_rename: AutoRename = attrs.field(default=AutoRename.RENAME, converter=_policy)
    part_size: int | None = None
    _found: FoundFile | None = attrs.field(default=None, alias="found", repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        texts = self.description, self.mime_type, self.parent_folder, self.container_id
        for text in texts:
            if text is not None and not isinstance(text, str):
                named = next(name for name in _TEXTS if getattr(self, name) is text)
                raise InvalidArgument(f"{named} must be a text, not {type(text).__name__}")

    @property
    def found(self) -> FoundFile | None:
        """Where a walk over a tree found the source; None for a source that came otherwise."""
        found = self._found
        return found if found is not None and found.source is self.source else None

    def file_name(self) -> str:
        """Return the name for the record.

        :raises InvalidFileName: The interface does not allow it.
        :raises InvalidArgument: There is none.
        """
        name = self.name if self.name is not None else name_of(self.source)
        if name is None:
            raise InvalidArgument("this source brings no name along: pass name=")
        return check_file_name(name)
