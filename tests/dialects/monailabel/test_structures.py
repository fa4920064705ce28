"""Whatever lists come in which order, the session holds exactly the clicks of the last call."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from app.core.prompt import Point
from app.dialects.monailabel.clicks import Clicks
from app.dialects.monailabel.structures import Start, StructureKey, Structures
from app.errors import BadPrompt, UnknownSession


class Sessions:
    """Keeps each session's prompts since it was opened or reset. A point at slice 9 is a bad prompt."""

    def __init__(self):
        self.prompts = {}
        self.opened = 0
        self.predicted = 0

    def open(self, owner, case_id, model, options):
        self.opened += 1
        self.prompts[f"s{self.opened}"] = []
        return f"s{self.opened}"

    def add(self, session_id, owner, prompts):
        if session_id not in self.prompts:
            raise UnknownSession("over")
        for prompt in prompts:
            if prompt.at[0] == 9:
                raise BadPrompt("no")
            self.prompts[session_id].append(prompt)
            self.predicted += 1

    def reset(self, session_id, owner):
        if session_id not in self.prompts:
            raise UnknownSession("over")
        self.prompts[session_id].clear()

    def close(self, session_id, owner):
        self.prompts.pop(session_id, None)


KEY = StructureKey("anna", "ct", "clicks", "liver")
START = Start("stamp", {})
points = st.lists(st.tuples(st.just(1), st.integers(0, 2), st.integers(0, 2)), max_size=4).map(tuple)


class Annotators(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.sessions = Sessions()
        self.table = Structures(self.sessions, size=2)

    @rule(
        owner=st.sampled_from("abc"),
        label=st.sampled_from(["", "liver"]),
        include=points,
        exclude=points,
        fresh=st.booleans(),
        radius=st.sampled_from([1, 1, 1, 2]),
    )
    def click(self, owner, label, include, exclude, fresh, radius):
        key, start = StructureKey(owner, "ct", "clicks", label), Start("stamp", {"radius": radius})
        with self.table.clicked(key, start, Clicks(include, exclude), fresh) as session_id:
            had = self.sessions.prompts[session_id]
        assert Counter(had) == Counter([*map(Point, include), *(Point(p, include=False) for p in exclude)])

    @rule(owner=st.sampled_from("abc"))
    def fail(self, owner):
        key = StructureKey(owner, "ct", "clicks", "liver")
        with pytest.raises(BadPrompt), self.table.clicked(key, START, Clicks(((1, 1, 1), (9, 0, 0))), False):
            pass

    @rule()
    def expire(self):
        self.sessions.prompts.clear()


TestAnnotators = Annotators.TestCase
TestAnnotators.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.fixture
def sessions():
    return Sessions()


def click(table, *include, key=KEY, start=START, fresh=False):
    with table.clicked(key, start, Clicks(include), fresh) as session_id:
        return session_id


def test_only_new_clicks_are_predicted(sessions):
    table = Structures(sessions)
    first = click(table, (0, 0, 1))
    assert click(table, (0, 0, 1), (0, 0, 2)) == first
    assert click(table, (0, 0, 1), (0, 0, 2)) == first
    assert (sessions.opened, sessions.predicted) == (1, 2)


def test_starting_over_keeps_the_session(sessions):
    table = Structures(sessions)
    first = click(table, (0, 0, 1))
    assert click(table, (0, 0, 2)) == first
    assert click(table, (0, 0, 2), fresh=True) == first
    assert (sessions.opened, sessions.predicted) == (1, 3)


def test_an_expired_session_is_replayed(sessions):
    table = Structures(sessions)
    sessions.close(click(table, (0, 0, 1)), "anna")
    second = click(table, (0, 0, 1), (0, 0, 2))
    assert sessions.prompts[second] == [Point((0, 0, 1)), Point((0, 0, 2))]


def test_another_image_under_the_same_name_gets_another_session(sessions):
    table = Structures(sessions)
    first = click(table, (0, 0, 1))
    second = click(table, (0, 0, 1), start=Start("other", {}))
    assert list(sessions.prompts) == [second] != [first]


def test_each_annotator_and_structure_has_its_own(sessions):
    table = Structures(sessions)
    keys = [KEY, KEY._replace(owner="bo"), KEY._replace(label="spleen"), KEY._replace(case_id="mr")]
    assert len({click(table, (0, 0, 1), key=key) for key in keys}) == 4


def test_the_least_recently_used_is_closed(sessions):
    table = Structures(sessions, size=1)
    click(table, (0, 0, 1))
    second = click(table, (0, 0, 1), key=KEY._replace(owner="bo"))
    assert list(sessions.prompts) == [second]
