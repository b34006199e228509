"""Uploading what a path names, and counting what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from anyio import to_thread

from koodrive_async.cli.local import total_size
from koodrive_async.cli.progress import Meter
from koodrive_async.cli.wording import count_text, size_text, speed_text
from koodrive_async.upload import Phase, UploadItem, UploadReceipt
from koodrive_async.upload.paths import path_text
from koodrive_async.upload.tree import record_name, tree_items

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from koodrive_async.backup import BackupSession
    from koodrive_async.upload import Progress, UploadBatch, UploadFailure
    from koodrive_async.upload.tree import LeftOut, TreeRules


def upload_path(
    session: BackupSession,
    path: Path,
    tally: Tally,
    *,
    is_file: bool,
    rules: TreeRules | None = None,
    left_out: Counter[LeftOut] | None = None,
) -> UploadBatch:
    """Upload a file or a folder; the description of each file is its path relative to it.

    :param rules: What of a folder to take; all of it by default.
    :param left_out: Counts what is left out.
    """
    if is_file:
        item = UploadItem(
            source=path, name=record_name(path.name), description=path_text(path.name)
        )
        return session.upload_many([item], on_progress=tally.on_progress)
    items = tree_items(path, rules=rules, left_out=left_out)
    return session.upload_many(items, on_progress=tally.on_progress)  # type: ignore[arg-type]  # folders that cannot be read are handed on


@attrs.define
class Tally:
    """What became of the files of a backup.

    :ivar there: Files that the record had already.
    :ivar rapid: Files whose bytes the service had already.
    :ivar parts_resumed: Parts that an earlier run had sent.
    :ivar size: Bytes of all files that are in the record.
    :ivar size_sent: Bytes that this run has sent, as far as its parts tell.
    """

    files: int = 0
    failed: int = 0
    there: int = 0
    rapid: int = 0
    parts: int = 0
    parts_resumed: int = 0
    retries: int = 0
    size: int = 0
    size_sent: int = 0
    hashing: Meter = attrs.field(factory=lambda: Meter(label="hash"))
    sending: Meter = attrs.field(factory=lambda: Meter(label="upload"))
    # files on their way, by their path
    _hashed: dict[str | None, int] = attrs.field(factory=dict)
    _sent: dict[str | None, int] = attrs.field(factory=dict)

    def on_progress(self, progress: Progress) -> None:
        """Move the meters."""
        key = progress.description
        if progress.phase is Phase.HASH:
            self._hashed[key] = progress.done
        elif progress.done < progress.total:
            self._sent[key] = progress.done
        else:
            # its receipt counts it
            self._hashed.pop(key, None)
            self._sent.pop(key, None)
        self._move()

    def add(self, outcome: UploadReceipt | UploadFailure) -> None:
        """Count a file that is done, or failed."""
        if isinstance(outcome, UploadReceipt):
            self.files += 1
            self.size += outcome.size
            self.parts += outcome.parts
            self.parts_resumed += outcome.parts_resumed
            self.retries += outcome.retries
            self.rapid += outcome.outcome == "rapid"
            self.there += outcome.outcome == "exists"
            if outcome.parts:
                self.size_sent += _size_sent(outcome)
        else:
            self.failed += 1
            self._hashed.pop(outcome.description, None)
            self._sent.pop(outcome.description, None)
        self._move()

    async def measure(self, path: Path, rules: TreeRules | None = None) -> None:
        """Find out how much there is to do, while it is being done already."""
        total = await to_thread.run_sync(total_size, path, rules, abandon_on_cancel=True)
        self.hashing.total = self.sending.total = total

    def summary(self, seconds: float) -> str:
        """Return what happened in one line."""
        text = (
            f"{count_text(self.files, 'file')}, {size_text(self.size)}, "
            f"{count_text(self.parts, 'part')} in {seconds:.2f} s"
        )
        if self.size_sent:
            text += f": {speed_text(self.size_sent, seconds)}"
        if self.there:
            text += f"; {count_text(self.there, 'file')} there already"
        if self.parts_resumed:
            text += f"; {count_text(self.parts_resumed, 'part')} sent by an earlier run"
        if self.rapid:
            text += f"; {count_text(self.rapid, 'file')} not sent, the service had the bytes"
        if self.retries:
            text += f"; {count_text(self.retries, 'part')} sent again"
        return text

    def facts(self, seconds: float) -> dict[str, object]:
        """Return the same for :func:`~koodrive_async.cli.json_output.json_text`."""
        return {
            "files": self.files,
            "size": self.size,
            "parts": self.parts,
            "seconds": round(seconds, 3),
            "bytes_per_second": round(self.size_sent / max(seconds, 1e-6)),
            "there_already": self.there,
            "not_sent": self.rapid,
            "parts_resumed": self.parts_resumed,
            "retries": self.retries,
            "failed": self.failed,
        }

    def _move(self) -> None:
        for meter, partial in ((self.hashing, self._hashed), (self.sending, self._sent)):
            meter.started = True
            meter.done = max(meter.done, self.size + sum(partial.values()))
            meter.files = self.files


def _size_sent(receipt: UploadReceipt) -> int:
    # parts have one size but for the last one
    return receipt.size * receipt.parts // (receipt.parts + receipt.parts_resumed)
