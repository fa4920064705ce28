"""Whatever lists come in which order, the session holds exactly the clicks of the last call."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager, suppress

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from app.core.prompt import Point
from app.dialects.monailabel.clicks import Clicks
from app.dialects.monailabel.structures import Start, StructureKey, clicked, drawn
from app.errors import BadPrompt, Cancelled


class FakeSession:
    """Keeps its prompts since it was opened or reset. A point at slice 9 is a bad prompt; the client goes after as many
    prompts as `sessions.patience` says."""

    def __init__(self, sessions, name):
        self.sessions, self.name = sessions, name
        self.prompts = []
        self.note = None

    def add(self, prompts, whole):
        assert whole
        for prompt in prompts:
            if prompt.at[0] == 9:
                raise BadPrompt("no")
            if self.sessions.patience == 0:
                raise Cancelled("gone")
            self.sessions.patience -= 1
            self.prompts.append(prompt)
            self.sessions.predicted += 1

    def reset(self):
        self.prompts.clear()


class FakeSlot:
    def __init__(self, sessions, key):
        self.sessions, self.key = sessions, key

    @property
    def empty(self):
        return self.key not in self.sessions.open

    @property
    def session(self):
        return self.sessions.open[self.key]

    def open(self, case_id, model, options):
        self.sessions.opened += 1
        self.sessions.open[self.key] = FakeSession(self.sessions, f"s{self.sessions.opened}")
        return self.session


class Sessions:
    """Hands out slots as `PromptService` does; each has a session or none."""

    def __init__(self):
        self.open = {}
        self.opened = 0
        self.predicted = 0
        self.patience = 10**9

    @contextmanager
    def slot(self, owner, key):
        yield FakeSlot(self, (owner, key))


KEY = StructureKey("anna", "ct", "clicks", "liver")
START = Start("stamp", {})
points = st.lists(st.tuples(st.just(1), st.integers(0, 2), st.integers(0, 2)), max_size=4).map(tuple)


class Annotators(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.sessions = Sessions()

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
        with clicked(self.sessions, key, start, Clicks(include, exclude), fresh) as session:
            had = list(session.prompts)
        assert Counter(had) == Counter([*map(Point, include), *(Point(p, include=False) for p in exclude)])

    @rule(owner=st.sampled_from("abc"))
    def fail(self, owner):
        key = StructureKey(owner, "ct", "clicks", "liver")
        with pytest.raises(BadPrompt), clicked(self.sessions, key, START, Clicks(((1, 1, 1), (9, 0, 0))), False):
            pass

    @rule(owner=st.sampled_from("abc"), include=points, exclude=points, patience=st.integers(0, 3))
    def leave(self, owner, include, exclude, patience):
        """The client closes its connection, in the middle or later."""
        self.sessions.patience = patience
        key = StructureKey(owner, "ct", "clicks", "liver")
        with suppress(Cancelled), clicked(self.sessions, key, START, Clicks(include, exclude), False):
            pass
        self.sessions.patience = 10**9

    @rule()
    def expire(self):
        self.sessions.open.clear()


TestAnnotators = Annotators.TestCase
TestAnnotators.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


@pytest.fixture
def sessions():
    return Sessions()


def click(sessions, *include, key=KEY, start=START, fresh=False):
    with clicked(sessions, key, start, Clicks(include), fresh) as session:
        return session.name


def test_only_new_clicks_are_predicted(sessions):
    first = click(sessions, (0, 0, 1))
    assert click(sessions, (0, 0, 1), (0, 0, 2)) == first
    assert click(sessions, (0, 0, 1), (0, 0, 2)) == first
    assert (sessions.opened, sessions.predicted) == (1, 2)


def test_a_request_that_breaks_off_is_further_along_when_it_is_repeated(sessions):
    wanted = [(0, 0, 1), (0, 0, 2), (0, 0, 3)]
    sessions.patience = 2
    with pytest.raises(Cancelled):
        click(sessions, *wanted)
    sessions.patience = 10**9
    click(sessions, *wanted)
    assert (sessions.opened, sessions.predicted) == (1, 3)


def test_starting_over_keeps_the_session(sessions):
    first = click(sessions, (0, 0, 1))
    assert click(sessions, (0, 0, 2)) == first
    assert click(sessions, (0, 0, 2), fresh=True) == first
    assert (sessions.opened, sessions.predicted) == (1, 3)


def test_an_expired_session_is_replayed(sessions):
    click(sessions, (0, 0, 1))
    sessions.open.clear()
    click(sessions, (0, 0, 1), (0, 0, 2))
    (second,) = sessions.open.values()
    assert second.prompts == [Point((0, 0, 1)), Point((0, 0, 2))]


def test_another_image_under_the_same_name_gets_another_session(sessions):
    first = click(sessions, (0, 0, 1))
    second = click(sessions, (0, 0, 1), start=Start("other", {}))
    assert [session.name for session in sessions.open.values()] == [second] != [first]


def test_each_annotator_and_structure_has_its_own(sessions):
    keys = [KEY, KEY._replace(owner="bo"), KEY._replace(label="spleen"), KEY._replace(case_id="mr")]
    assert len({click(sessions, (0, 0, 1), key=key) for key in keys}) == 4


def test_scribbles_come_as_a_whole_each_time(sessions):
    with drawn(sessions, KEY, START, [Point((0, 0, 1)), Point((0, 0, 2))]) as session:
        first = session.name
    with drawn(sessions, KEY, START, [Point((0, 0, 3))]) as session:
        assert (session.name, session.prompts) == (first, [Point((0, 0, 3))])
    assert click(sessions, (0, 0, 3)) == first
    assert sessions.open[("anna", KEY)].prompts == [Point((0, 0, 3))]
