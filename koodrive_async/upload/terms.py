"""The terms on which the service takes a file: what is asked for when it refuses the usual ones."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import attrs

from koodrive_async.transport.refusals import may_be_of_the_lock
from koodrive_async.upload.plan import MAX_PART_SIZE, Plan, PlannedPart
from koodrive_async.upload.record_files import MAX_DESCRIPTION, shortened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from koodrive_async.errors import ApiError
    from koodrive_async.upload.item import UploadItem
    from koodrive_async.upload.record_files import RecordFiles

logger: logging.Logger = logging.getLogger(__name__)

PARTLESS: Final = "an empty file has no parts"
WHOLE: Final = "a file comes in one part"
SHORT: Final = f"a description has at most {MAX_DESCRIPTION} characters"
NAMED: Final = "the space of a file is named"


class Terms:
    """The terms on which one file is created, as far as the service may want other ones.

    The pages of backup files leave open whether ``containerId`` may be left out, how long a
    description may be, what an edition without multipart does, and how an empty file is announced.
    So a file is first announced as the caller wishes; when that is refused, and not plainly for
    something else, it is announced on other terms. Terms that worked hold for the next files of
    the record.

    :param apply: Whether to begin on the terms that are known.
    :ivar plan: How the file is cut.
    :ivar description: As it is asked for.
    :ivar container_id: The space that is named.
    """

    def __init__(self, record: RecordFiles, item: UploadItem, plan: Plan, *, apply: bool) -> None:
        self.plan: Plan = plan
        self.description: str | None = item.description
        self.container_id: str | None = item.container_id
        self._record = record
        self._wished = plan, item.description
        self._terms: frozenset[str] = frozenset()
        self._tried: set[frozenset[str]] = set()
        self._others: Iterator[frozenset[str]] | None = None
        self._refusal: ApiError | None = None
        self._item_space = item.container_id
        self._may_name_space = item.container_id is None
        self._space: str | None = None
        if apply and record.terms:
            self._space = record.container_id if self._may_name_space else None
            self._set(record.terms)

    async def change(self, refusal: ApiError, space: Callable[[], Awaitable[str | None]]) -> bool:
        """Ask otherwise after a refusal; return False when there is no other way.

        :param space: Finds out which space the user has.
        """
        if not may_be_of_the_lock(refusal):
            return False
        self._refusal = self._refusal or refusal
        self._tried.add(self._terms)
        if self._terms == {NAMED} and self._record.takes_unnamed:
            self._record.codes_of_else.add(refusal.code)
        if self._may_name_space and refusal.code not in self._record.codes_of_else:
            self._may_name_space = False
            if self.container_id is None and (found := await space()) is not None:
                self._space = found
                self._set(self._terms | {NAMED})
                return True
        if self._others is None:
            self._others = self._alternatives()
        for terms in self._others:
            if terms not in self._tried:
                self._set(terms)
                return True
        return False

    def keep(self) -> None:
        """Note that a call created the file on these terms; one that was found proves nothing."""
        if self._terms:
            for term in sorted(self._terms - self._record.terms):
                logger.warning("the service refuses files unless %s: %s", term, self._refusal)
            self._record.terms |= self._terms
        self._record.takes_unnamed |= self.container_id is None

    def _alternatives(self) -> Iterator[frozenset[str]]:
        """Yield other terms, one by one and then all together: each leaves something out."""
        plan, description = self._wished
        possible = [
            term
            for term, is_possible in (
                (PARTLESS, not plan.size),
                (WHOLE, len(plan) > 1 and plan.size <= MAX_PART_SIZE),
                (SHORT, len(description or "") > MAX_DESCRIPTION),
            )
            if is_possible
        ]
        others = [frozenset({term}) for term in possible]
        if len(possible) > 1:
            others.append(frozenset(possible))
        may_be_named = self._space is not None and not self._record.takes_unnamed
        # a name of the space that did not help by itself is left out before more terms have it
        if not may_be_named or NAMED not in self._record.terms:
            yield from others
        if may_be_named:
            yield from (other | {NAMED} for other in others)

    def _set(self, terms: frozenset[str]) -> None:
        self.plan, self.description = self._wished
        if PARTLESS in terms and not self.plan.size:
            self.plan = attrs.evolve(self.plan, parts=())
        if WHOLE in terms:
            self.plan = as_a_whole(self.plan)
        if SHORT in terms and len(self.description or "") > MAX_DESCRIPTION:
            self.description = shortened(self.description or "")
        if self._item_space is None:
            self.container_id = self._space if NAMED in terms else None
        self._terms = terms


def as_a_whole(plan: Plan) -> Plan:
    """Return a plan of one part, if one part may be so large."""
    if len(plan) <= 1 or plan.size > MAX_PART_SIZE:
        return plan
    return Plan(plan.size, plan.size, (PlannedPart(1, 0, plan.size),))
