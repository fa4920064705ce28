"""Progress by person and by day, counted by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from app.core.label import Contribution
from app.web.dashboard.work import DAYS, OTHERS, progress, zone_named
from tests.web.dashboard.values import at

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
SUBMITTED = [
    Contribution("a", "anna", at("2026-03-01T09:00:00")),
    Contribution("b", "bo", at("2026-03-01T10:00:00")),
    Contribution("a", "anna", at("2026-03-01T11:00:00")),  # a second version of the same case
    Contribution("c", "anna", at("2026-03-03T23:30:00")),
]


def test_people_by_how_much_they_labelled() -> None:
    view = progress(SUBMITTED, total=10, completed=3, zone=UTC, now=NOW)
    assert [(one.name, one.cases, one.versions) for one in view.people] == [("anna", 2, 3), ("bo", 1, 1)]
    assert view.people[0].last == datetime(2026, 3, 3, 23, 30, tzinfo=UTC)
    assert view.left == 7


def test_every_day_since_the_first_label_counts_labels_and_cases_so_far() -> None:
    view = progress(SUBMITTED, 10, 3, UTC, NOW)
    assert [(one.day.day, one.by_person, one.labels, one.cases_so_far) for one in view.days] == [
        (1, (2, 1), 3, 2),
        (2, (0, 0), 0, 2),
        (3, (1, 0), 1, 3),
        (4, (0, 0), 0, 3),
    ]


def test_days_are_the_readers() -> None:
    view = progress(SUBMITTED, 10, 3, ZoneInfo("Europe/Berlin"), NOW)
    assert [(one.day, one.labels) for one in view.days if one.labels] == [(date(2026, 3, 1), 3), (date(2026, 3, 4), 1)]
    assert view.zone == "Europe/Berlin"


def test_only_the_last_days_are_shown_but_all_cases_count() -> None:
    old = [Contribution("z", "anna", at("2025-01-01T00:00:00")), *SUBMITTED]
    view = progress(old, 10, 4, UTC, NOW)
    assert len(view.days) == DAYS
    assert view.days[-1].day == NOW.date()
    assert view.days[0].cases_so_far == 1
    assert view.days[-1].cases_so_far == 4


def test_the_sixth_person_and_later_ones_share_a_series() -> None:
    made = [Contribution(f"{n}{i}", f"p{n}", at("2026-03-04T09:00:00")) for n in range(7) for i in range(9 - n)]
    view = progress(made, 100, 42, UTC, NOW)
    assert view.named == ("p0", "p1", "p2", "p3", "p4", OTHERS)
    assert view.days[-1].by_person == (9, 8, 7, 6, 5, 4 + 3)
    assert view.chart == {
        "days": ["2026-03-04"],
        "series": [{"name": name, "values": [n]} for name, n in zip(view.named, (9, 8, 7, 6, 5, 7), strict=True)],
    }


def test_nothing_yet() -> None:
    view = progress([], 0, 0, UTC, NOW)
    assert (view.people, view.named, view.days) == ((), (), ())


@pytest.mark.parametrize("name", ["", "Nowhere/Atall", "../../etc/passwd", "/etc/passwd", "UTC\0", "a" * 64])
def test_a_zone_that_is_none_is_utc(name: str) -> None:
    assert zone_named(name) is UTC


def test_a_zone_by_its_name() -> None:
    assert str(zone_named("Asia/Tokyo")) == "Asia/Tokyo"
