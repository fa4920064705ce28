"""Rankings that strategies share: new patients first, and the most uncertain cases first.

Every function is pure and stops after `MAX_PICKS` picks: the caller takes the first that isn't claimed.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from app.core.pool import Candidate, Pick, Pool, Score

MAX_PICKS = 100


def patient_random(pool: Pool, because: str = "") -> list[Pick]:
    """A random order, with cases of patients that have no label and weren't picked yet before all others.

    Repeated series of one patient are the main waste when whole volumes are labelled, and avoiding them costs nothing.
    `because` is a prefix of each reason.
    """
    shuffled = np.random.default_rng(pool.seed).permutation(len(pool.candidates))
    order = (pool.candidates[index] for index in shuffled)
    return [
        Pick(one.case_id, because + ("random; a new patient" if new else "random; no new patient is left"))
        for one, new in islice(_new_patients_first(order, pool.labelled_patients), MAX_PICKS)
    ]


def most_uncertain(pool: Pool, scorer: str, word: str) -> list[Pick]:
    """The highest scores of `scorer` first; reasons call the score `word`.

    Of equal scores, that of a patient without a label comes first. A case without a score gets the median. Without any
    scores the order is that of `patient_random`.
    """
    scores = pool.scores.get(scorer, {})
    found = [scores.get(c.case_id) for c in pool.candidates]
    values = np.array([np.nan if score is None else score.value for score in found])
    scored = np.sort(values[~np.isnan(values)])
    if scored.size == 0:
        return patient_random(pool, f"no case has a score of {scorer} yet; ")
    filled = np.where(np.isnan(values), np.median(scored), values)
    seen = np.array([c.patient in pool.labelled_patients for c in pool.candidates])
    best = np.lexsort((seen, -filled))[:MAX_PICKS]
    below = np.searchsorted(scored, values[best]) / scored.size
    picks = []
    for index, share in zip(best, below, strict=True):
        case_id = pool.candidates[index].case_id
        picks.append(Pick(case_id, _reason(scores.get(case_id), word, share)))
    return picks


def _reason(score: Score | None, word: str, below: float) -> str:
    if score is None:
        return f"no {word} score yet; taken as middling"
    why = f"; {score.why}" if score.why else ""
    return (
        f"{word} {score.value:.2f}, higher than {below:.0%} of the scored cases; scored by {score.model_version}{why}"
    )


def _new_patients_first(order: Iterator[Candidate], labelled: frozenset[str]) -> Iterator[tuple[Candidate, bool]]:
    """Each candidate, and whether its patient is new; new patients first, otherwise in the given order."""
    seen = set(labelled)
    later = []
    for one in order:
        if one.patient in seen:
            later.append(one)
        else:
            seen.add(one.patient)
            yield one, True
    yield from ((one, False) for one in later)
