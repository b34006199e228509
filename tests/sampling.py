"""A plugin of pytest that runs every test, but only some of its parameter sets.

``pytest -p tests.sampling --parameter-sets 2`` keeps the first and the last set of each test by
their ids, with 3 also the one in the middle, and so on. The other sets of a sweep seldom find what
is wrong with a version of Python or of a library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption(
        "--parameter-sets",
        type=int,
        metavar="N",
        help="run each test with at most N of its parameter sets",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is not in the sample; the order stays."""
    most = config.getoption("--parameter-sets")
    if most is None:
        return
    chosen = set(sample((item.nodeid for item in items), most))
    dropped = [item for item in items if item.nodeid not in chosen]
    items[:] = [item for item in items if item.nodeid in chosen]
    config.hook.pytest_deselected(items=dropped)


def sample(node_ids: Iterable[str], most: int) -> list[str]:
    """Return at most so many node ids of each test, the same ones for every order of them."""
    tests: dict[str, list[str]] = {}
    for node_id in sorted(node_ids):
        tests.setdefault(node_id.partition("[")[0], []).append(node_id)
    return [node_id for sets in tests.values() for node_id in spread(sets, most)]


def spread(values: Sequence[T], most: int) -> Sequence[T]:
    """Return the first, the last, and what lies at equal distances between them."""
    if len(values) <= most:
        return values
    if most == 1:
        return values[:1]
    return [values[index * (len(values) - 1) // (most - 1)] for index in range(most)]
