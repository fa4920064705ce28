"""Leases with a clock of our own."""

from __future__ import annotations

import threading

import pytest

from app.dialects.nninteractive.leases import AllInUse, LeaseTable, NoLease, Terms


class Table:
    """A table of two seats, whose seats are named after their tokens."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ended: list[str] = []
        self.leases = LeaseTable(Terms(idle=600, liveness=60, sessions=2), str, self.ended.append, lambda: self.now)

    def beat(self, token: str, seconds: float) -> None:
        """Let time go by with a heartbeat every 30 s."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 30, end)
            self.leases.check(token)


@pytest.fixture
def table() -> Table:
    return Table()


def test_a_lease_lives_with_its_heartbeats_until_nobody_acts(table):
    token = table.leases.claim()
    table.beat(token, 590)
    assert table.leases.remaining(token) == 10
    with table.leases.acting(token) as seat:
        assert seat == token
    assert table.leases.remaining(token) == 600
    table.beat(token, 600)
    table.now += 1
    with pytest.raises(NoLease, match="over"):
        table.leases.check(token)
    assert table.ended == [token]


def test_a_client_that_is_gone_loses_its_lease(table):
    token = table.leases.claim()
    table.now += 60
    table.leases.sweep()
    assert not table.ended
    table.now += 0.1
    table.leases.sweep()
    assert table.ended == [token]
    with pytest.raises(NoLease):
        table.leases.remaining(token)


def test_asking_how_long_it_lasts_moves_no_clock(table):
    token = table.leases.claim()
    for _ in range(4):
        table.now += 15
        table.leases.remaining(token)
    table.now += 1
    with pytest.raises(NoLease):
        table.leases.check(token)


def test_a_lease_that_is_being_worked_for_does_not_end(table):
    token = table.leases.claim()
    with table.leases.acting(token):
        table.now += 10_000
        table.leases.sweep()
        assert not table.ended
    table.now += 59
    table.leases.check(token)
    assert table.leases.remaining(token) == 541


def test_seats_are_limited_and_dead_ones_are_free_at_once(table):
    first = table.leases.claim()
    table.now += 30
    second = table.leases.claim()
    with pytest.raises(AllInUse, match="2 sessions"):
        table.leases.claim()
    table.now += 31  # the first hasn't been heard of for 61 s
    third = table.leases.claim()
    assert table.ended == [first]
    table.leases.release(second)
    table.leases.release(second)
    assert table.ended == [first, second]
    assert len({first, second, third}) == 3
    assert len(table.leases) == 1


def test_the_leases_of_somebody_without_an_account_end(table):
    kept, lost = table.leases.claim(), table.leases.claim("ana")
    table.leases.release_of(lambda owner: owner == "bo")
    assert table.ended == []
    table.leases.release_of(lambda owner: owner == "ana")
    assert table.ended == [lost]
    table.leases.check(kept)


@pytest.mark.parametrize("token", [None, "", "made up", "0" * 48])
def test_a_lease_that_never_was(table, token):
    table.leases.claim()
    with pytest.raises(NoLease):
        table.leases.check(token)
    with pytest.raises(NoLease), table.leases.acting(token):
        raise AssertionError("somebody acts without a lease")
    table.leases.release(token)
    assert len(table.leases) == 1


def test_many_threads_get_as_many_leases_as_there_are_seats():
    leases = LeaseTable(Terms(600, 60, 5), str, lambda seat: None)
    got: list[str] = []
    turned_away: list[int] = []

    def claim(number: int) -> None:
        try:
            got.append(leases.claim())
        except AllInUse:
            turned_away.append(number)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(set(got)), len(turned_away)) == (5, 35)
