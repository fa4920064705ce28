"""Contributions per person, the queue with its reasons, and the newest labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from math import ceil
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from app.core.case import Case, CaseClaim
from app.core.label import Contribution, DeliveryState, Label
from app.core.pool import Pick
from app.errors import UnknownCase
from app.services import Services
from app.services.cases import CaseService
from app.services.prompting.images import PREFIX


@dataclass(frozen=True)
class CaseName:
    """A readable name for a case, because UIDs aren't. `title` is short; `detail` distinguishes images of one patient
    and may be empty. `viewer` is OHIF's address for it, relative to the page; "" if OHIF can't show it."""

    id: str
    title: str
    detail: str
    viewer: str = ""


def name_of(case: Case) -> CaseName:
    if case.id.startswith(PREFIX):
        return CaseName(case.id, "an image that a viewer sent", "")
    said = (case.modality, case.description, case.body_part, _day(case.study_date))
    return CaseName(case.id, case.patient_id or case.id, " · ".join(word for word in said if word), viewer_of(case))


def viewer_of(case: Case) -> str:
    """OHIF's address for a case in labelling mode, relative to the page; "" for what OHIF can't show."""
    if not (case.study_uid and case.series_uid):
        return ""
    shown = {"StudyInstanceUIDs": case.study_uid, "initialSeriesInstanceUID": case.series_uid}
    return f"ohif/segloop?{urlencode(shown)}"


def names_of(cases: CaseService, case_ids: Iterable[str]) -> dict[str, CaseName]:
    """Names by id. A case that no longer exists has its id as the title."""
    return {case_id: _looked_up(cases, case_id) for case_id in dict.fromkeys(case_ids)}


def _looked_up(cases: CaseService, case_id: str) -> CaseName:
    try:
        return name_of(cases.get(case_id).case)
    except UnknownCase:
        return CaseName(case_id, case_id, "no longer here")


def _day(dicom_date: str) -> str:
    """`20240131` as `2024-01-31` (DICOM PS3.5 6.2, DA); anything else as it is."""
    if len(dicom_date) == 8 and dicom_date.isdigit():
        return f"{dicom_date[:4]}-{dicom_date[4:6]}-{dicom_date[6:]}"
    return dicom_date


DAYS = 30
"""How many days are shown, up to today."""

NAMED = 5
"""How many people have their own colour in the chart; the others share one."""

OTHERS = "others"


@dataclass(frozen=True)
class Person:
    """One author: the number of `cases` labelled and of `versions` submitted; `last` is the time of the newest."""

    name: str
    cases: int
    versions: int
    last: datetime


@dataclass(frozen=True)
class Day:
    """Labels of one day per person in `Progress.named` (others last), and the total of cases labelled by its end."""

    day: date
    by_person: tuple[int, ...]
    cases_so_far: int

    @property
    def labels(self) -> int:
        return sum(self.by_person)


@dataclass(frozen=True)
class Progress:
    """`days` has every day since the first label, at most `DAYS`, in the time zone `zone`. `people` are sorted by
    versions, most first."""

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
        """The chart's data: labels per day, one series per person."""
        series = [
            {"name": name, "values": [day.by_person[index] for day in self.days]}
            for index, name in enumerate(self.named)
        ]
        return {"days": [day.day.isoformat() for day in self.days], "series": series}


def zone_named(name: str) -> tzinfo:
    """A time zone by its IANA name; UTC for an unknown one. `zoneinfo` rejects names that would leave its folder."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return UTC


def progress(submissions: Sequence[Contribution], total: int, completed: int, zone: tzinfo, now: datetime) -> Progress:
    """The progress from all final labels, oldest first. `total` and `completed` are numbers of cases."""
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


PAGE = 8
"""Cases on a page. Each has a thumbnail, for which the server may have to fetch the images."""


@dataclass(frozen=True)
class Scored:
    """A score of a case: `value` is 0..1, `version` the model version that was used."""

    scorer: str
    value: float
    version: str


@dataclass(frozen=True)
class Place:
    """A case in the queue. `slice` is where to look first by its scores, counted from 0; None without scores."""

    number: int
    case: CaseName
    reason: str
    scores: tuple[Scored, ...]
    slice: int | None


@dataclass(frozen=True)
class Held:
    """A case that is claimed until `until`."""

    case: CaseName
    holder: str
    reason: str
    until: datetime


@dataclass(frozen=True)
class Queue:
    """One page of the queue. `ranked` is the number of cases that the strategy ranked, which may be only the best ones;
    `waiting` is the number of all cases without a final label. `strategies` maps names to descriptions."""

    strategy: str
    strategies: Mapping[str, str]
    places: tuple[Place, ...]
    held: tuple[Held, ...]
    page: int
    pages: int
    ranked: int
    waiting: int

    @property
    def random(self) -> bool:
        """Whether the order is partly random, so that a viewer may be given another case."""
        return any("random" in place.reason for place in self.places)


def page_of(picks: Sequence[Pick], page: int) -> tuple[int, int, Sequence[Pick]]:
    """`(page, pages, picks on it)`; `page` is clamped to the existing pages."""
    pages = max(1, ceil(len(picks) / PAGE))
    page = min(max(1, page), pages)
    return page, pages, picks[(page - 1) * PAGE : page * PAGE]


def place(number: int, pick: Pick, case: CaseName, details: Mapping[str, Mapping[str, Any]]) -> Place:
    """The view of a pick. `details` are the case's score details by scorer."""
    scores = tuple(
        Scored(scorer, float(noted["value"]), str(noted["model_version"])) for scorer, noted in sorted(details.items())
    )
    # The worst slice of the most uncertain score, because that is where a person should look first.
    looked = [(float(noted["value"]), noted["slices"][0]) for noted in details.values() if noted.get("slices")]
    return Place(number, case, pick.reason, scores, int(max(looked)[1]) if looked else None)


def held(claim: CaseClaim, case: CaseName) -> Held:
    return Held(case, claim.holder, claim.reason, datetime.fromtimestamp(claim.expires, UTC))


LABELS_SHOWN = 15


@dataclass(frozen=True)
class RecentLabel:
    """A label version. `number` counts a case's versions under `tag`; `model` is the model version used. `delivery` is
    None for a label that isn't sent to the archive."""

    id: int
    case: CaseName
    tag: str
    number: int
    author: str
    client: str
    created: datetime
    structures: tuple[str, ...]
    model: str
    comment: str
    delivery: DeliveryState | None


def recent_label(label: Label, case: CaseName, delivery: DeliveryState | None) -> RecentLabel:
    return RecentLabel(
        id=label.id,
        case=case,
        tag=label.tag,
        number=label.number,
        author=label.author,
        client=label.client,
        created=label.created,
        structures=tuple(segment.name for segment in label.segments),
        model=_made_with(label),
        comment=label.comment,
        delivery=delivery,
    )


def _made_with(label: Label) -> str:
    """The model and its version. Ids of trained versions include the model's name; other versions may be a digest."""
    if not label.model or label.model_version.startswith(f"{label.model}-"):
        return label.model_version
    return f"{label.model} {label.model_version}".strip()


def read_progress(services: Services, zone: str) -> Progress:
    total, completed = services.cases.counts()
    contributions = services.labels.contributions()
    return progress(contributions, total, completed, zone_named(zone), datetime.now(UTC))


def read_queue(services: Services, strategy: str, page: int) -> Queue:
    """`strategy` is "" for the default. Raises `UnknownStrategy`."""
    strategies = services.next_case.strategies()
    strategy = strategy or next(iter(strategies), "")
    picks = services.next_case.preview(strategy, {}) if strategy else ()
    claims = services.next_case.held()
    page, pages, shown = page_of(picks, page)
    names = names_of(services.cases, [*(pick.case_id for pick in shown), *(claim.case_id for claim in claims)])
    first = (page - 1) * PAGE + 1
    places = tuple(
        place(number, pick, names[pick.case_id], services.cases.score_notes(pick.case_id))
        for number, pick in enumerate(shown, start=first)
    )
    return Queue(
        strategy=strategy,
        strategies=strategies,
        places=places,
        held=tuple(held(claim, names[claim.case_id]) for claim in claims),
        page=page,
        pages=pages,
        ranked=len(picks),
        waiting=services.next_case.waiting(),
    )


def read_labels(services: Services) -> tuple[RecentLabel, ...]:
    labels = services.labels.newest_first(limit=LABELS_SHOWN)
    names = names_of(services.cases, [label.case_id for label in labels])
    states = services.deliveries.states([label.id for label in labels])
    return tuple(recent_label(label, names[label.case_id], states.get(label.id)) for label in labels)
