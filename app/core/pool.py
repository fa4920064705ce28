"""What a strategy sees and answers. A strategy is a question answered from a snapshot: pure, seeded, light."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Candidate(NamedTuple):
    """A case that nobody has labelled and nobody holds. A named tuple, because there may be ten thousand of them.

    `served` is when it was last offered (seconds since the epoch; 0: never). `order` is its place in the archive's
    listing.
    """

    case_id: str
    patient: str
    order: int
    served: float


@dataclass(frozen=True)
class Score:
    """One number a scorer gave a case, and the model version it was made with."""

    value: float
    model_version: str


@dataclass(frozen=True)
class Pool:
    """A snapshot of what could be offered next.

    `scores[scorer]` maps case ids to that scorer's newest score, e.g. `entropy:segmentation`. `labelled_patients`
    are patients with at least one final label. `now` is seconds since the epoch. `seed` makes random strategies
    repeatable.
    """

    candidates: Sequence[Candidate]
    scores: Mapping[str, Mapping[str, Score]]
    labelled_patients: frozenset[str]
    now: float
    seed: int


@dataclass(frozen=True)
class Pick:
    """A case a strategy would offer, with the reason a person reads."""

    case_id: str
    reason: str


class Strategy(Protocol):
    """One small file in `strategies/`; the file's stem is its public name, its class a frozen dataclass of options.

    The class docstring's first line is what viewers show. A strategy that serves every model under the name
    `<model>_<stem>` has a field `model: str`.
    """

    def rank(self, pool: Pool) -> Sequence[Pick]:
        """The best cases first; a strategy may stop after as many picks as it likes, but names at least one if the
        pool has a candidate."""
