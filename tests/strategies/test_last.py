from __future__ import annotations

from strategies.last import Last
from tests.strategies.pools import pool


def test_the_last_comes_first() -> None:
    assert [pick.case_id for pick in Last().rank(pool("abc"))] == ["2", "1", "0"]
