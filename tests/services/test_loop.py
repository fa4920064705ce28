"""What people do, over a real catalog and an archive in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.archives.memory import MemoryArchive
from app.archives.outbox import OutboxWorker
from app.core.archive import Listing
from app.core.label import FINAL, ORIGINAL, Submission
from app.core.mask import Mask
from app.core.prompt import Point
from app.dicom.seg_read import read_seg
from app.errors import BadPrompt, Conflict, ResourceExhausted, UnknownSession, UnknownStrategy
from app.services import Services
from app.settings import Settings
from tests.dicom.synthetic import ct_series
from tests.prompting import Steps

COUNT = 4


@pytest.fixture
def archive() -> MemoryArchive:
    return MemoryArchive([ct_series(seed=n, patient=n)[0] for n in range(COUNT)])


@pytest.fixture
def services(tmp_path: Path, archive: MemoryArchive) -> Iterator[Services]:
    settings = Settings(
        workspace=tmp_path / "workspace",
        models={"fake": {"type": "fake"}},  # type: ignore[dict-item]
        labels={"structures": ["liver"]},  # type: ignore[arg-type]
    )
    services = Services.open(settings, archive)
    services.sync.run()
    yield services
    services.stop()


def a_mask(services: Services, case_id: str, slice_index: int = 1) -> Mask:
    geometry = services.cases.volume(case_id).geometry
    voxels = np.zeros(geometry.shape, np.uint8)
    voxels[slice_index] = 1
    return Mask.single(voxels, ["liver"], geometry)


def submit(services: Services, case_id: str, who: str = "anna", tag: str = FINAL, slice_index: int = 1):
    return services.labels.submit_mask(
        case_id, a_mask(services, case_id, slice_index), Submission(who, "test", tag, "fake")
    )


class LateArchive(MemoryArchive):
    """Has one case, and takes a moment to list it."""

    def __init__(self) -> None:
        super().__init__([ct_series()[0]])

    def list(self, cursor: str | None) -> Listing:
        time.sleep(0.5)
        return super().list(cursor)


class TestNextCase:
    def test_annotators_get_different_cases_until_none_is_left(self, services: Services) -> None:
        offers = [services.next_case.next("random", who, {}) for who in ("anna", "bo", "cy", "di")]
        assert len({offer.row.case.id for offer in offers}) == COUNT
        assert services.next_case.next("random", "late", {}) is None

    def test_same_annotator_gets_the_same_case_until_it_is_labelled(self, services: Services) -> None:
        first = services.next_case.next("first", "anna", {})
        assert services.next_case.next("last", "anna", {}).row.case.id == first.row.case.id
        submit(services, first.row.case.id)
        assert services.next_case.next("first", "anna", {}).row.case.id != first.row.case.id

    def test_skipped_case_is_free(self, services: Services) -> None:
        first = services.next_case.next("first", "anna", {})
        services.next_case.skip(first.row.case.id, "anna")
        assert services.next_case.next("first", "bo", {}).row.case.id == first.row.case.id
        assert services.next_case.next("first", "anna", {}).row.case.id != first.row.case.id

    def test_skipped_case_is_offered_again_before_nothing_is(self, services: Services) -> None:
        for _ in range(COUNT):
            services.next_case.skip(services.next_case.next("first", "anna", {}).row.case.id, "anna")
        assert services.next_case.next("first", "anna", {}) is not None

    def test_unusable_images_are_passed_over_and_named(self, services: Services, archive: MemoryArchive) -> None:
        gap = ct_series(seed=9, patient=9, missing=(4,))[0]
        uid = archive.add_series(gap).id
        services.sync.run()
        offered = []
        for who in range(COUNT + 1):
            offer = services.next_case.next("last", str(who), {})
            offered += [offer.row.case.id] if offer else []
        assert uid not in offered
        assert len(offered) == COUNT
        assert "missing" in services.cases.get(uid).problem

    @pytest.mark.parametrize("strategy", ["first", "last", "random", "patient_random", "entropy", "epistemic"])
    def test_nobody_gets_a_patient_of_whom_somebody_holds_a_case_while_there_are_others(
        self, tmp_path: Path, strategy: str
    ) -> None:
        """Two series each of patients 0 to 2; those of patient 0 are first, last and the most uncertain."""
        archive = MemoryArchive(
            [ct_series(seed=seed, patient=patient)[0] for seed, patient in enumerate((0, 1, 1, 2, 2, 0))]
        )
        models = {"m": {"type": "fake_automatic"}}
        services = Services.open(Settings(workspace=tmp_path / "w", models=models), archive)  # type: ignore[arg-type]
        services.sync.run()
        cases = [row.case for row in services.cases.all()]
        for case in cases:
            value = 0.9 if case.patient_key == cases[0].patient_key else 0.1
            for scorer in ("entropy:m", "epistemic:m"):
                services.project.catalog.scores.put(case.id, scorer, "1", value, 0.1, {})
        offers = [services.next_case.next(strategy, who, {}) for who in ("anna", "bo", "cy", "di")]
        services.stop()
        patients = [offer.row.case.patient_key for offer in offers]
        assert len(set(patients[:3])) == 3
        assert len({offer.row.case.id for offer in offers}) == 4  # no other patient was left for the fourth

    def test_right_after_the_start_it_waits_for_the_first_listing(self, tmp_path: Path) -> None:
        services = Services.open(Settings(workspace=tmp_path / "w", models={}), LateArchive())
        services.start()
        offer = services.next_case.next("random", "anna", {})
        assert services.next_case.next("random", "bo", {}) is None
        services.stop()
        assert offer is not None

    def test_unknown_strategy_is_named_with_those_there_are(self, services: Services) -> None:
        with pytest.raises(UnknownStrategy, match="random"):
            services.next_case.next("magic", "anna", {})


class TestLabels:
    def test_final_label_reaches_the_archive_once_it_is_back(self, services: Services, archive: MemoryArchive) -> None:
        case_id = services.cases.all()[0].case.id
        services.cases.volume(case_id)
        archive.available = False
        label = submit(services, case_id)
        project = services.project
        outbox_worker = OutboxWorker(project.catalog, project.labels, project.archive_of)
        assert outbox_worker.deliver_due() == 0
        assert project.catalog.outbox.state().waiting == 1
        assert services.cases.counts() == (COUNT, 1)
        archive.available = True
        project.catalog.outbox.retry_now()
        assert outbox_worker.deliver_due() == 1
        assert project.catalog.outbox.state().delivered == 1
        stored = read_seg(project.labels.path(label), services.cases.volume(case_id).geometry)
        assert np.array_equal(stored.labelmap(), a_mask(services, case_id).labelmap())

    def test_other_tags_stay_here(self, services: Services) -> None:
        submit(services, services.cases.all()[0].case.id, tag=ORIGINAL)
        assert services.project.catalog.outbox.state().waiting == 0
        assert services.cases.counts() == (COUNT, 0)

    def test_both_annotators_versions_are_kept(self, services: Services) -> None:
        case_id = services.cases.all()[0].case.id
        submit(services, case_id, "anna", slice_index=1)
        submit(services, case_id, "bo", slice_index=2)
        history = services.labels.history(case_id)
        assert [(label.number, label.author) for label in history] == [(1, "anna"), (2, "bo")]
        filled = [services.labels.mask(label).labelmap().any(axis=(1, 2)).nonzero()[0].tolist() for label in history]
        assert filled == [[1], [2]]

    def test_archive_emptied_takes_no_label_away(self, services: Services, archive: MemoryArchive) -> None:
        case_id = services.cases.all()[0].case.id
        submit(services, case_id)
        archive.remove(case_id)
        services.sync.run()
        assert [label.number for label in services.labels.history(case_id)] == [1]


class TestPrompting:
    def test_sessions_are_their_owners(self, services: Services) -> None:
        case_id = services.cases.all()[0].case.id
        session = services.prompting.open("anna", case_id, "fake", {})
        Steps(services).add(session, "anna", [Point((4, 10, 8))])
        assert Steps(services).mask(session, "anna").sum() == 125
        with pytest.raises(UnknownSession):
            Steps(services).mask(session, "bo")
        services.prompting.close(session, "bo")
        assert Steps(services).mask(session, "anna").sum() == 125

    def test_bad_prompt_changes_nothing(self, services: Services) -> None:
        session = services.prompting.open("anna", services.cases.all()[0].case.id, "fake", {})
        with pytest.raises(BadPrompt, match="outside"):
            Steps(services).add(session, "anna", [Point((400, 1, 1))])
        assert Steps(services).mask(session, "anna").sum() == 0

    def test_memory_is_limited_and_owners_make_room_for_themselves(self, tmp_path: Path) -> None:
        archive = MemoryArchive([ct_series((64, 512, 512))[0]])
        sessions = {"max_bytes": 220 * 2**20}
        settings = Settings(
            workspace=tmp_path / "w",
            models={"fake": {"type": "fake"}},  # type: ignore[dict-item]
            sessions=sessions,  # type: ignore[arg-type]
        )
        services = Services.open(settings, archive)
        services.sync.run()
        case_id = services.cases.all()[0].case.id
        opened = [services.prompting.open("anna", case_id, "fake", {}) for _ in range(4)]
        with pytest.raises(UnknownSession):
            Steps(services).mask(opened[0], "anna")
        assert services.prompting.memory[1] <= 220 * 2**20
        with pytest.raises(ResourceExhausted):
            services.prompting.open("bo", case_id, "fake", {})
        services.prompting.close(opened[-1], "anna")
        assert services.prompting.open("bo", case_id, "fake", {})
        services.stop()


def test_nobody_replaces_an_image_of_the_archive(services: Services, tmp_path: Path) -> None:
    case_id = services.cases.all()[0].case.id
    file = tmp_path / "image.nii"
    file.write_bytes(b"")
    with pytest.raises(Conflict, match="archive"):
        services.cases.add_upload([(file, "image.nii")], case_id, "anna")
