"""Options that are several numbers, as text: settings and viewers know only plain values."""

from __future__ import annotations


def three_whole(text: str) -> tuple[int, int, int]:
    """`"32,64,64"` as `(k, j, i)`. Raises `ValueError`."""
    k, j, i = (int(part) for part in text.split(","))
    return k, j, i


def three_real(text: str) -> tuple[float, float, float]:
    """`"2,1.5,1.5"` as `(k, j, i)`. Raises `ValueError`."""
    k, j, i = (float(part) for part in text.split(","))
    return k, j, i


def whole(text: str) -> list[int]:
    """`"16,32,64"` as numbers. Raises `ValueError`."""
    return [int(part) for part in text.split(",")]
