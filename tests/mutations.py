"""Change lines that decide about remote state, one at a time: each change has to turn a test red.

``python -m tests.mutations`` copies the project, changes a line there, runs the tests that protect
it, and goes on with the next line. It ends with 1 when a change went unnoticed. ``make mutations``
is the same; ``tests/test_mutations.py`` keeps the list in step with the code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import attrs

ROOT = Path(__file__).parent.parent
COPIED = ("koodrive_async", "tests", "pyproject.toml")


@attrs.frozen
class Mutation:
    """A line that is made wrong.

    :param belief: What the code would believe without having seen it.
    :param file: Below ``koodrive_async``.
    :param right: Text that stands in the file once.
    :param wrong: What it becomes.
    :param tests: Below ``tests``, those that have to notice.
    """

    belief: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


PROOF = "upload/test_complete_is_proven.py"
STORED = "upload/test_stored_bytes.py"
OTHERS = "upload/test_files_of_other_records.py"
CREATION = "upload/test_creation.py"
ADOPTED = "upload/test_adopted_files.py"
LEFT = "upload/test_left_records.py"
LOCKS = "interface/test_lock_refusals.py"
RECORDS = "interface/test_record_creation.py"

MUTATIONS = (
    Mutation(
        "an object of the right size is the file, whatever its bytes",
        "upload/proof.py",
        "seen.length == fingerprint.size and seen.hexdigest() == fingerprint.sha256",
        "seen.length == fingerprint.size",
        (STORED,),
    ),
    Mutation(
        "a file that the service refuses to complete is complete",
        "upload/completeness.py",
        "return await self._refusal(file_id) is None or await self.is_stored(file_id)\n",
        "return await self._refusal(file_id) is None or True\n",
        (PROOF,),
    ),
    Mutation(
        "a file is stored though no space is known to look in",
        "upload/completeness.py",
        "            return False\n        return await is_stored",
        "            return True\n        return await is_stored",
        (PROOF,),
    ),
    Mutation(
        "an upload that the service has forgotten needs no second look",
        "upload/delivery.py",
        "            if not self._may_be_complete or not await lease.run(self._is_complete):\n",
        "            if False:\n",
        (PROOF,),
    ),
    Mutation(
        "what an earlier run began is complete",
        "upload/delivery.py",
        "exist=saved.outcome is not None and record.listed(saved.file_id) is not None,",
        "exist=True,",
        (PROOF, "upload/test_resume.py"),
    ),
    Mutation(
        "a file that has the wanted name is this record's",
        "upload/creation.py",
        "        if identifies:\n            return self._taken",
        "        if True:\n            return self._taken",
        (ADOPTED, OTHERS, CREATION),
    ),
    Mutation(
        "a file of this name and these bytes is of this record, whenever it was created",
        "upload/membership.py",
        "names_zone(record_created) and created >= record_created",
        "names_zone(record_created)",
        (ADOPTED,),
    ),
    Mutation(
        "a time without a zone is UTC",
        "upload/membership.py",
        "return names_zone(created) and names_zone",
        "return names_zone",
        (ADOPTED,),
    ),
    Mutation(
        "a file that another record has noted is of this one",
        "upload/membership.py",
        "    return not await means.journal.knows_of_others(",
        "    return True or await means.journal.knows_of_others(",
        (ADOPTED,),
    ),
    Mutation(
        "a file that was finished is of this record, whether that lists it or not",
        "upload/delivery.py",
        "            return await lease.run(self._absence)\n",
        "            return None\n",
        (ADOPTED,),
    ),
    Mutation(
        "details are those of the file, whatever they say",
        "upload/membership.py",
        "digest) == (name, fingerprint.size, fingerprint.sha256)",
        "digest) != ()",
        (ADOPTED,),
    ),
    Mutation(
        "a file that is said to exist is this record's",
        "upload/creation.py",
        "        if not created.exist:\n",
        "        if True:\n",
        (OTHERS, CREATION),
    ),
    Mutation(
        "a name of a file need not identify its record",
        "upload/record_files.py",
        '_with_digests(name, f"{record_id}\\n{mark}", digits=_LONG)',
        "_with_digests(name, mark, digits=_LONG)",
        (OTHERS,),
    ),
    Mutation(
        "a lock is refused with one code only",
        "transport/refusals.py",
        "    return error.code not in _OF_SOMETHING_ELSE\n",
        '    return error.code == "13000102"\n',
        (LOCKS,),
    ),
    Mutation(
        "a refused write says nothing of the lock",
        "resources/lease.py",
        "        return await self._keeper.lost_since(losses)\n",
        "        return False\n",
        (LOCKS, "interface/test_leases.py"),
    ),
    Mutation(
        "a refused renewal says that the credentials are wrong",
        "resources/lease.py",
        "                if not await self._credentials_work():\n",
        "                if True:\n",
        (LOCKS,),
    ),
    Mutation(
        "the properties that a record has are those of this run",
        "session_record.py",
        "            return {**there, **given}\n",
        "            return given\n",
        (LEFT,),
    ),
    Mutation(
        "a record that is not found once is gone",
        "unfinished.py",
        "        if _is_of_all_records(refusal):\n            raise\n        first = refusal\n",
        "        raise RecordGoneError(refusal) from None\n",
        (LEFT,),
    ),
    Mutation(
        "a new record of these properties is the one that was asked for",
        "resources/record_creation.py",
        "            and record.record_id not in self._known\n",
        "",
        (RECORDS,),
    ),
)


def main() -> int:
    """Try every mutation; return 1 when one went unnoticed."""
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="koodrive-mutations-") as place:
        tree = Path(place)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, tree / name)
        for mutation in MUTATIONS:
            noticed = is_noticed(mutation, tree)
            unnoticed += not noticed
            state = "noticed" if noticed else "UNNOTICED"
            print(f"{state:9}  {mutation.file}: {mutation.belief}", flush=True)
    print(f"{len(MUTATIONS) - unnoticed} of {len(MUTATIONS)} changes turned a test red")
    return int(bool(unnoticed))


def is_noticed(mutation: Mutation, tree: Path) -> bool:
    """Change the line in a copy of the project, and return whether a test fails for it."""
    path = tree / "koodrive_async" / mutation.file
    text = path.read_text()
    path.write_text(changed(text, mutation))
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
            + [f"tests/{name}" for name in mutation.tests],
            cwd=tree,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(text)
    # 1: tests failed; everything else is a mistake in the mutation
    if ran.returncode not in {0, 1}:
        raise SystemExit(f"{mutation.file}: pytest ended with {ran.returncode}\n{ran.stdout}")
    return ran.returncode == 1


def changed(text: str, mutation: Mutation) -> str:
    """Return the text of a file with the line made wrong.

    :raises ValueError: The line stands there not once.
    """
    if text.count(mutation.right) != 1:
        raise ValueError(
            f"{mutation.file}: stands there {text.count(mutation.right)} times: {mutation.right!r}"
        )
    return text.replace(mutation.right, mutation.wrong)


if __name__ == "__main__":
    sys.exit(main())
