"""What would be labelled next, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Any

from app.core.case import Lease
from app.core.pool import Pick
from app.web.dashboard.case_name import CaseName

PAGE = 8
"""Cases on a page: each has a picture, for which the server may have to fetch the images first."""


@dataclass(frozen=True)
class Scored:
    """What a scorer said of a case: `value` is 0..1, `version` the model version that it looked with."""

    scorer: str
    value: float
    version: str


@dataclass(frozen=True)
class Place:
    """A case in the queue. `slice` is the one that a scorer found most uncertain, None if none did."""

    number: int
    case: CaseName
    reason: str
    scores: tuple[Scored, ...]
    slice: int | None


@dataclass(frozen=True)
class Held:
    """A case that someone has in hand until `until`."""

    case: CaseName
    holder: str
    reason: str
    until: datetime


@dataclass(frozen=True)
class Queue:
    """One page of it. `ranked` cases are in order; `waiting` are all that could be offered, held or not, of
    which a strategy may rank the best only. `strategies` have their descriptions by name."""

    strategy: str
    strategies: Mapping[str, str]
    places: tuple[Place, ...]
    held: tuple[Held, ...]
    page: int
    pages: int
    ranked: int
    waiting: int

    @property
    def random(self) -> bool:
        """Whether chance has a part in the order: then a viewer may well be given another case."""
        return any("random" in place.reason for place in self.places)


def page_of(picks: Sequence[Pick], page: int) -> tuple[int, int, Sequence[Pick]]:
    """`(page, pages, picks on it)`; a page that isn't there is the nearest one that is."""
    pages = max(1, ceil(len(picks) / PAGE))
    page = min(max(1, page), pages)
    return page, pages, picks[(page - 1) * PAGE : page * PAGE]


def place(number: int, pick: Pick, case: CaseName, details: Mapping[str, Mapping[str, Any]]) -> Place:
    """`details` are what scorers noted about the case, by scorer."""
    scores = tuple(
        Scored(scorer, float(noted["value"]), str(noted["model_version"])) for scorer, noted in sorted(details.items())
    )
    # The worst slice of the most uncertain score: that is what a person should look at first.
    looked = [(float(noted["value"]), noted["slices"][0]) for noted in details.values() if noted.get("slices")]
    return Place(number, case, pick.reason, scores, int(max(looked)[1]) if looked else None)


def held(lease: Lease, case: CaseName) -> Held:
    return Held(case, lease.holder, lease.reason, datetime.fromtimestamp(lease.expires, UTC))
