"""What a soak came to, as a table."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs

BLOCK: Final = re.compile(r"(<!-- soak -->\n).*?(<!-- /soak -->)", re.DOTALL)


@attrs.define(kw_only=True)
class Result:
    """Counts of one soak.

    :ivar struck: Requests that a fault struck, by its kind.
    :ivar blows: What was done to processes, by its kind.
    :ivar endings: How processes ended.
    :ivar raised: Documented exceptions after which a process gave up, by their names.
    """

    seed: int
    seconds: float = 0.0
    records: int = 0
    files: int = 0
    size: int = 0
    resumes: int = 0
    requests: int = 0
    guarded_parts: int = 0
    guarded_hashes: int = 0
    struck: Counter[str] = attrs.field(factory=Counter)
    blows: Counter[str] = attrs.field(factory=Counter)
    endings: Counter[str] = attrs.field(factory=Counter)
    raised: Counter[str] = attrs.field(factory=Counter)
    notes: Counter[str] = attrs.field(factory=Counter)
    findings: list[str] = attrs.field(factory=list)

    def table(self) -> str:
        """Return it as Markdown."""
        rows = [
            ("date", f"{datetime.now(UTC):%Y-%m-%d}"),
            ("seed", str(self.seed)),
            ("minutes", f"{self.seconds / 60:.1f}"),
            ("records completed", f"{self.records:,}"),
            ("files in them", f"{self.files:,}"),
            ("MB in them", f"{self.size / 1e6:,.0f}"),
            ("requests", f"{self.requests:,}"),
            ("of these struck by faults", f"{self.struck.total():,}: {_told(self.struck)}"),
            ("blows to the process", f"{self.blows.total():,}: {_told(self.blows)}"),
            ("how processes ended", _told(self.endings)),
            ("exceptions they gave up with", _told(self.raised)),
            ("records gone on with", f"{self.resumes:,}"),
            ("acknowledged parts left by killed processes", f"{self.guarded_parts:,}"),
            ("finished hashes left by them", f"{self.guarded_hashes:,}"),
            *((note, f"{count:,}") for note, count in sorted(self.notes.items())),
            ("promises broken", "; ".join(self.findings) or "none"),
        ]
        lines = ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)]
        return "\n".join(lines) + "\n"

    def write(self, path: Path) -> None:
        """Write it to a file of its own."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.table(), encoding="utf-8")

    def insert(self, page: Path) -> None:
        """Replace what stands between ``<!-- soak -->`` and ``<!-- /soak -->``.

        :raises ValueError: There is no such place.
        """
        text, places = BLOCK.subn(
            lambda match: match[1] + self.table() + match[2], page.read_text(encoding="utf-8")
        )
        if not places:
            raise ValueError(f"{page} has no place for it")
        page.write_text(text, encoding="utf-8")


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common()) or "none"
