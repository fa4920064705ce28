from __future__ import annotations

from strategies.first import First
from tests.strategies.pools import pool


def test_the_first_comes_first() -> None:
    assert [pick.case_id for pick in First().rank(pool("abc"))] == ["0", "1", "2"]
