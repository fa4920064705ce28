"""Which patients are for validation: decided once by their name alone, for ever.

A patient never changes sides, however many labels come and in whatever order, so no version is ever measured on what
an earlier one was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TypeVar

T = TypeVar("T")


def is_validation(patient_key: str, fold: int) -> bool:
    """One patient in `fold`, by the SHA-256 of `patient_key`."""
    return int(sha256(patient_key.encode()).hexdigest(), 16) % fold == 0


def split(cases: Iterable[tuple[str, T]], fold: int) -> tuple[Sequence[T], Sequence[T]]:
    """`(train, validate)` from pairs of patient key and case."""
    sides: tuple[list[T], list[T]] = ([], [])
    for patient_key, case in cases:
        sides[is_validation(patient_key, fold)].append(case)
    return sides
