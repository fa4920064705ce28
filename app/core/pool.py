"""The strategy contract: input and output. A strategy is a pure, seeded, fast function of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Candidate(NamedTuple):
    """A case that nobody claimed: without a final label, or for strategies that review, with one. A named tuple,
    because there may be ten thousand of them.

    While there are others, no case of a patient of whom somebody holds one.

    `served` is when it was last offered (seconds since the epoch; 0: never). `order` is its position in the archive's
    listing.
    """

    case_id: str
    patient: str
    order: int
    served: float


@dataclass(frozen=True)
class Score:
    """A scorer's value for a case, the model version that it was computed with, and what the scorer says about it in
    words for annotators ("": nothing)."""

    value: float
    model_version: str
    why: str = ""


@dataclass(frozen=True)
class Pool:
    """A snapshot of the cases that may be offered next.

    `scores[scorer]` maps case ids to the newest score of a scorer such as `entropy:segmentation`. `labelled_patients`
    have at least one final label. `now` is in seconds since the epoch. `seed` makes random strategies reproducible.
    """

    candidates: Sequence[Candidate]
    scores: Mapping[str, Mapping[str, Score]]
    labelled_patients: frozenset[str]
    now: float
    seed: int


@dataclass(frozen=True)
class Pick:
    """A case that a strategy picked, and the reason that users see."""

    case_id: str
    reason: str


class Strategy(Protocol):
    """One small file in `strategies/`; the file's stem is its public name, its class a frozen dataclass of options.

    The class docstring's first line is what viewers show. A strategy that serves every model under the name
    `<model>_<stem>` has a field `model: str`. If it reads other scores of that model than `entropy`, which the server
    always has computed, a class attribute `scorers: ClassVar[tuple[str, ...]]` names them: they are computed while
    somebody uses the strategy.

    With a class attribute `reviews: ClassVar[bool] = True` its pool has labelled cases instead: those whose label has
    the strategy's first score and wasn't submitted after the strategy had offered the case.
    """

    def rank(self, pool: Pool) -> Sequence[Pick]:
        """Picks, best first. Any number of them, but at least one if the pool has a candidate."""
