"""Options with several numbers as text: settings and viewers support only scalar values."""

from __future__ import annotations


def three_ints(text: str) -> tuple[int, int, int]:
    """`"32,64,64"` as `(k, j, i)`. Raises `ValueError`."""
    k, j, i = (int(part) for part in text.split(","))
    return k, j, i


def three_floats(text: str) -> tuple[float, float, float]:
    """`"2,1.5,1.5"` as `(k, j, i)`. Raises `ValueError`."""
    k, j, i = (float(part) for part in text.split(","))
    return k, j, i


def ints(text: str) -> list[int]:
    """`"16,32,64"` as numbers. Raises `ValueError`."""
    return [int(part) for part in text.split(",")]
