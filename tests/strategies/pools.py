"""Pools of cases for tests of strategies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from app.core.pool import Candidate, Pool, Score

NOW = 1_700_000_000.0


def pool(
    patients: str,
    values: Mapping[str, Mapping[int, float]] | None = None,
    labelled: str = "",
    served: Mapping[int, float] | None = None,
    seed: int = 0,
) -> Pool:
    """Cases `0`, `1`, ... of the patients named by one letter each; `values` are scores by scorer and case."""
    candidates = [
        Candidate(str(order), patient, order, (served or {}).get(order, 0.0)) for order, patient in enumerate(patients)
    ]
    scores = {
        scorer: {str(case): Score(value, "m-7") for case, value in some.items()}
        for scorer, some in (values or {}).items()
    }
    return Pool(candidates, scores, frozenset(labelled), NOW, seed)


def large(count: int = 10_000) -> Pool:
    """A project of `count` cases of half as many patients, two thirds of them scored."""
    rng = np.random.default_rng(0)
    candidates = [Candidate(f"1.2.840.{n}", f"patient-{n % (count // 2)}", n, 0.0) for n in range(count)]
    scores = {
        f"{name}:m": {one.case_id: Score(rng.random(), "m-7") for one in candidates if rng.random() < 0.67}
        for name in ("entropy", "epistemic")
    }
    return Pool(candidates, scores, frozenset(f"patient-{n}" for n in range(100)), NOW, 1)
