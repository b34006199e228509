"""How long ``import koodrive_async`` takes, over a Python that does nothing.

python -m benchmarks.imports
"""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.sink import ROOT

REPEATS = 15


def imports() -> dict[str, list[float]]:
    """Start a Python that does nothing and one that imports, in turns.

    :returns: Seconds of every start, for both.
    """
    programs = {"bare": "pass", "import": "import koodrive_async"}
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    # the first of each compiles modules and reads files
    for turn in range(REPEATS + 1):
        for name, program in programs.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    print("\nImport")
    for name, times in seconds.items():
        print(f"  {name:12} {1000 * min(times):.0f} to {1000 * max(times):.0f} ms")
    return seconds


if __name__ == "__main__":
    imports()
