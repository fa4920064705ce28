"""How much is labelled: by whom, and on which day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from app.core.label import Contribution

DAYS = 30
"""Days shown, up to today."""

NAMED = 5
"""People with a colour of their own in the chart; the others share one."""

OTHERS = "others"


@dataclass(frozen=True)
class Person:
    """`cases` someone labelled, in so many `versions`; `last` is when they last submitted one."""

    name: str
    cases: int
    versions: int
    last: datetime


@dataclass(frozen=True)
class Day:
    """Labels of a day, by the people of `Progress.named` (the others last), and the cases labelled until its end."""

    day: date
    by_person: tuple[int, ...]
    cases_so_far: int

    @property
    def labels(self) -> int:
        return sum(self.by_person)


@dataclass(frozen=True)
class Progress:
    """`days` has every day of the last `DAYS` from the first label on, also those without one; `zone` is where they
    begin and end. `people` have labelled most first."""

    total: int
    completed: int
    zone: str
    people: tuple[Person, ...]
    named: tuple[str, ...]
    days: tuple[Day, ...]

    @property
    def left(self) -> int:
        return self.total - self.completed

    @property
    def chart(self) -> dict[str, object]:
        """What the page draws: labels per day, one series for each person."""
        series = [
            {"name": name, "values": [day.by_person[index] for day in self.days]}
            for index, name in enumerate(self.named)
        ]
        return {"days": [day.day.isoformat() for day in self.days], "series": series}


def zone_named(name: str) -> tzinfo:
    """A time zone by its IANA name; UTC for one that isn't known here. A name never becomes a path: `zoneinfo` refuses
    those that could."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return UTC


def progress(submissions: Sequence[Contribution], total: int, completed: int, zone: tzinfo, now: datetime) -> Progress:
    """From every final label that counts, oldest first. `total` and `completed` are cases."""
    versions = Counter(one.author for one in submissions)
    people = tuple(_person(name, submissions) for name, _ in versions.most_common())
    ranked = tuple(person.name for person in people)
    named = ranked[:NAMED] + ((OTHERS,) if len(ranked) > NAMED else ())
    return Progress(
        total=total,
        completed=completed,
        zone=str(zone),
        people=people,
        named=named,
        days=_days(submissions, named, zone, now.astimezone(zone).date()),
    )


def _person(name: str, submissions: Sequence[Contribution]) -> Person:
    own = [one for one in submissions if one.author == name]
    last = datetime.fromtimestamp(max(one.created for one in own), UTC)
    return Person(name, len({one.case_id for one in own}), len(own), last)


def _days(submissions: Sequence[Contribution], named: tuple[str, ...], zone: tzinfo, today: date) -> tuple[Day, ...]:
    if not submissions:
        return ()
    dated = [(datetime.fromtimestamp(one.created, zone).date(), one) for one in submissions]
    first = max(min(day for day, _ in dated), today - timedelta(days=DAYS - 1))
    counts = Counter((day, one.author if one.author in named else OTHERS) for day, one in dated)
    days = [first + timedelta(days=n) for n in range((today - first).days + 1)]
    return tuple(
        Day(
            day,
            tuple(counts[day, name] for name in named),
            len({one.case_id for dated_on, one in dated if dated_on <= day}),
        )
        for day in days
    )
