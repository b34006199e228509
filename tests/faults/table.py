"""The tables of ``docs/reliability.md``: read, compared with, and written.

``python -m tests.faults.table --write`` tries every cell and writes both anew.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
from pathlib import Path

import anyio

from tests.faults.matrix import FOR_EVER, MANY_PARTS, ONCE, ONE_PART, STAGES, all_rows, cells
from tests.faults.sources import CHANGES, MOMENTS, tried_change
from tests.faults.trial import tried_all, write_tree

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- matrix -->", "<!-- /matrix -->"
WRITE = "python -m tests.faults.table --write"
NOT_TRIED = "-"

SHORT = {
    "ApiError": "Refused",
    "AuthenticationError": "Auth",
    "ConnectionFailed": "Connection",
    "DeadlineExceeded": "Deadline",
    "IntegrityCheckFailed": "Integrity",
    "InsufficientSpace": "Space",
    "InvalidRequest": "Invalid",
    "PartRejected": "Part",
    "PermissionDenied": "Permission",
    "RateLimited": "Rate",
    "ServerFault": "Server",
    "SourceChanged": "Changed",
    "UploadTaskGone": "TaskGone",
}

SHAPE_INITIALS = {ONE_PART: "one", MANY_PARTS: "parts"}


def rendered(row, often, outcomes):
    """Return a line of a table.

    :param outcomes: What became of each cell.
    """
    columns = [row.name]
    for stage in _stages(often):
        found = {cell.shape: str(one) for cell, one in outcomes.items() if cell.stage is stage}
        columns.append(_cell(found))
    return _line(columns)


def rendered_change(change, outcomes):
    """Return the line of something that happens to a file.

    :param outcomes: What came of it, by the moment.
    """
    return _line([change.name, *(_shortened(outcomes[moment]) for moment in MOMENTS)])


def written_line(title, name):
    """Return a line as it is on the page, or None."""
    for line in written_lines(title):
        if line.startswith(f"| {name} |"):
            return line
    return None


def written_lines(title):
    """Return the lines of one of the tables on the page."""
    lines, inside = [], False
    for line in _block(PAGE.read_text(encoding="utf-8")).splitlines():
        if line.startswith("**"):
            inside = line == f"**{title}**"
        elif inside and line.startswith("|"):
            lines.append(line)
    return lines[2:]


def titles():
    """Return the titles of the tables."""
    return {
        ONCE: "Once",
        FOR_EVER: "For ever (one part)",
        "source": "What happens to the file (over 1 MiB / smaller)",
    }


def page(text, lines):
    """Return the page with its tables made of these lines, by their titles."""
    parts = [BEGIN, "", LEGEND, ""]
    for often, title in titles().items():
        columns = list(MOMENTS) if often == "source" else [s.name for s in _stages(often)]
        parts += [f"**{title}**", "", _line(["", *columns]), _line(["---"] * (len(columns) + 1))]
        parts += [*lines[often], ""]
    head, _, rest = text.partition(BEGIN)
    return head + "\n".join(parts) + END + rest.partition(END)[2]


def _stages(often):
    return [stage for stage in STAGES if often == ONCE or not stage.after]


def _cell(found):
    texts = {_shortened(text) for text in found.values()}
    if not texts:
        return NOT_TRIED
    if len(texts) == 1:
        return texts.pop()
    return ", ".join(f"{_shortened(text)} ({shape})" for shape, text in found.items())


def _shortened(text):
    return re.sub(r"\w+", lambda name: SHORT.get(name[0], name[0]), text)


def _line(columns):
    return f"| {' | '.join(columns)} |"


def _block(text):
    return text.partition(BEGIN)[2].partition(END)[0]


LEGEND = "\n".join(
    (
        "`ok` is success with every byte right. Otherwise one exception is raised, no file is torn",
        "or there twice, and a resume with the fault gone brings every byte. Where a cell says",
        "nothing of the kind of files it ended alike with all of them. `*`: a lock stays with the",
        f"service until it runs out. `{NOT_TRIED}`: cannot happen there. Numbers are HTTP statuses",
        "and codes of the service. Names are short for: "
        + ", ".join(f"{short} `{name}`" for name, short in SHORT.items())
        + ".",
    )
)


async def _made():
    lines: dict[str, list[str]] = {often: [] for often in titles()}
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "source"
        write_tree(tree)
        for number, (row, often) in enumerate(all_rows()):
            outcomes = await tried_all(cells(row, often), Path(folder) / f"{number}", tree)
            lines[often].append(rendered(row, often, outcomes))
            _say(lines[often][-1])
            for cell, outcome in outcomes.items():
                for wrong in outcome.wrong:
                    failed = True
                    _say(f"WRONG: {cell}: {wrong}")
        for number, change in enumerate(CHANGES):
            found = await tried_change(change, Path(folder) / f"change {number}")
            lines["source"].append(rendered_change(change, found.outcomes))
            _say(lines["source"][-1])
            for wrong in found.wrong:
                failed = True
                _say(f"WRONG: {wrong}")
    return lines, failed


def _say(line):
    sys.stdout.write(line + "\n")


def main():
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"usage: {WRITE}")
    logging.disable(logging.CRITICAL)
    lines, failed = anyio.run(_made)
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), lines), encoding="utf-8")
    sys.exit(failed)


if __name__ == "__main__":
    main()
