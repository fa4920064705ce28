"""Archive, sessions, names of cases, and what the page asks attention for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.core.case import Case
from app.web.dashboard.health import Delivery, Sessions, Stuck, attention, shown_address
from app.web.dashboard.learning import Jobs, job_row
from app.web.dashboard.pages import dice, duration, mebibytes, moment, share
from app.web.dashboard.work import name_of
from tests.web.dashboard.values import CASE, a_job, at

SINCE = datetime.fromtimestamp(at("2026-03-01T10:00:00"), UTC)
WELL = Delivery("studies", "folder", "", SINCE, 0, 7, None, (), 0, ())
IDLE = Sessions((), 0, 0, 1000, "cpu", "fp32", 0, ("liver",))
NO_JOBS = Jobs((), (), (), 50, 3)


def test_all_is_well() -> None:
    assert attention(WELL, NO_JOBS, IDLE) == ()


def test_archive_that_is_away_and_labels_it_refused() -> None:
    stuck = Stuck(1, CASE, SINCE, 3, SINCE, "it answered 507")
    away = replace(WELL, problem="no answer", waiting=2, stuck=(stuck,))
    assert [(one.text, one.panel) for one in attention(away, NO_JOBS, IDLE)] == [
        ("The archive can't be read: no answer", "archive"),
        ("2 labels wait for the archive. The last try: it answered 507", "archive"),
    ]


def test_labels_that_the_archive_will_not_have() -> None:
    refused = Stuck(1, CASE, SINCE, 1, SINCE, "it is too large", "Make room.")
    once = replace(WELL, refused=1, turned_down=(refused,))
    assert [one.text for one in attention(once, NO_JOBS, IDLE)] == [
        "A label was refused by the archive: it is too large"
    ]
    more = replace(WELL, refused=30, turned_down=(refused, refused))
    assert [one.text for one in attention(more, NO_JOBS, IDLE)] == [
        "30 labels were refused by the archive: it is too large"
    ]


def test_a_label_on_its_first_try_is_no_matter() -> None:
    fresh = replace(WELL, waiting=1, stuck=(Stuck(1, CASE, SINCE, 0, SINCE, ""),))
    assert attention(fresh, NO_JOBS, IDLE) == ()


def test_a_failure_that_a_later_run_made_good_is_history() -> None:
    failed = job_row(a_job(id="old", state="failed", error="no memory"), [])
    done = job_row(a_job(id="new", state="done"), [])
    other = job_row(a_job(id="s", kind="score", state="failed", error="no weights"), [])
    rows = replace(NO_JOBS, rows=(done, other, failed))  # newest first
    assert [one.text for one in attention(WELL, rows, IDLE)] == ["Scoring segmentation failed: no weights"]
    rows = replace(NO_JOBS, rows=(failed, done))
    assert [one.text for one in attention(WELL, rows, IDLE)] == ["Training segmentation failed: no memory"]


def test_images_and_memory() -> None:
    notices = attention(replace(WELL, unusable_cases=2), NO_JOBS, replace(IDLE, bytes=950))
    assert [one.panel for one in notices] == ["archive", "sessions"]
    assert notices[0].text == "2 images can't be used and won't be offered"


@pytest.mark.parametrize(
    ("studies", "shown"),
    [
        ("http://user:pass@pacs:8042/dicom-web", "http://pacs:8042/dicom-web"),
        ("https://pacs/dicom-web?key=s3cret", "https://pacs/dicom-web"),
        ("/data/a@b/studies", "/data/a@b/studies"),
    ],
)
def test_an_archives_address_is_shown_without_its_secrets(studies: str, shown: str) -> None:
    assert shown_address(studies) == shown


def test_names_of_cases() -> None:
    series = Case("1.2.3", "series", "", patient_id="P1", modality="CT", description="abdomen", study_date="20240131")
    assert (name_of(series).title, name_of(series).detail) == ("P1", "CT · abdomen · 2024-01-31")
    assert name_of(Case("scan 7", "file", "")).title == "scan 7"
    assert name_of(Case("sent-0a1b", "file", "")).title == "an image that a viewer sent"


def test_numbers_as_people_read_them() -> None:
    assert [share(x) for x in (0, 0.001, 0.5, 0.999, 1)] == ["0 %", "1 %", "50 %", "99 %", "100 %"]
    assert [dice(x) for x in (None, 0.5, 0.98765)] == ["\N{EN DASH}", "0.500", "0.988"]
    assert [duration(x) for x in (None, 4.4, 190, 7500)] == ["\N{EN DASH}", "4 s", "3 min 10 s", "2 h 5 min"]
    assert mebibytes(8 * 2**30) == "8\N{NO-BREAK SPACE}192 MiB"


def test_times_carry_the_exact_one() -> None:
    exact = "2026-03-01T10:00:00Z"
    assert moment(SINCE) == f'<time datetime="{exact}" title="{exact}">2026-03-01 10:00 UTC</time>'
