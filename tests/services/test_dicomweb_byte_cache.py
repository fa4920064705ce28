"""What is remembered, up to a number of bytes."""

from __future__ import annotations

from app.services.dicomweb.files import ByteCache


def test_what_was_used_last_stays() -> None:
    made: list[str] = []
    kept: ByteCache[bytes] = ByteCache(100, len)

    def get(key: str, size: int = 40) -> bytes:
        return kept.get(key, lambda: made.append(key) or bytes(size))  # type: ignore[func-returns-value]

    for key in ("a", "b", "a", "c", "a", "b"):
        get(key)
    assert made == ["a", "b", "c", "b"]
    get("large", 101)
    get("large", 101)
    assert made[4:] == ["large", "large"]
    get("a")
    assert made[6:] == []
