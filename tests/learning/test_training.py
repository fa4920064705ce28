"""From labels to a served version, on tiny volumes with a tiny network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.core.job import Job
from app.errors import BadInput, Cancelled, ConfigurationError
from app.learning import training
from app.learning.control import Control
from app.learning.dataset import (
    Labelled,
    examined_in,
    is_validation,
    labelled_cases,
    learnable,
    prepare,
    training_label,
)
from app.learning.gate import Found, Measured, Verdict
from app.learning.training import train
from app.models.trained.spec import read_version
from app.project.project import Project
from app.project.trainers import trainer_of
from tests.learning import phantoms

LEARN = [seed for seed in range(12) if not is_validation(f"patient-{seed}", 5)]
VALIDATE = [seed for seed in range(12) if is_validation(f"patient-{seed}", 5)]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = phantoms.project(phantoms.settings(tmp_path))
    yield opened
    opened.close()


def control(project: Project, job: Job) -> Control:
    return Control(project.catalog.jobs, job.id, project.paths.interaction, pause_seconds=0)


def run(project: Project, **request: object) -> tuple[Job, dict[str, object]]:
    job = project.catalog.jobs.add("train", "segmentation", request, once=False)
    project.catalog.jobs.started(job.id, 1, 0.0)
    result = dict(train(project, job, control(project, job)))
    project.catalog.jobs.finish(job.id, "done", result)
    return job, result


def test_the_phantoms_have_both_sides() -> None:
    assert len(LEARN) >= 4
    assert len(VALIDATE) >= 2


def test_labels_become_a_served_version(project: Project) -> None:
    labels = [phantoms.submit(project, seed) for seed in [*LEARN[:4], *VALIDATE[:2]]]
    job, result = run(project, max_epochs=12)
    served = project.catalog.versions.served("segmentation")
    assert served is not None
    assert (served.id, served.state, served.job_id) == ("segmentation-1", "published", job.id)
    assert list(served.label_ids) == [label.id for label in labels]
    assert result["version"] == "segmentation-1"
    assert (result["epoch"], result["total_epochs"], result["validation_cases"]) == (12, 12, 2)
    assert float(str(result["best_metric"])) > 0.5
    assert str(result["total_time"]).count(":") == 2
    json.dumps(result)

    folder = project.paths.models / served.folder
    version = read_version(folder)
    assert version.spec.labels == phantoms.NAMES
    assert version.sha256 == served.sha256
    assert len(version.snapshots) == 2
    assert json.loads((folder / "metrics.json").read_text())["dice"].keys() == set(phantoms.NAMES)
    epochs = [data for _, _, data in project.catalog.jobs.events(job.id, kind="epoch")]
    assert [data["epoch"] for data in epochs] == list(range(1, 13))
    assert epochs[-1]["metrics"]["loss"] < epochs[0]["metrics"]["loss"]


@pytest.mark.parametrize(
    ("kind", "trainer", "options"),
    [
        ("deepgrow_3d", "deepgrow", {"dimension": 3}),
        ("deepgrow_2d", "deepgrow", {"dimension": 2, "patch": "1,16,16"}),
        ("deepedit", "deepedit", {}),
    ],
)
def test_every_kind_of_model_goes_the_whole_way(
    tmp_path: Path, kind: str, trainer: str, options: dict[str, object]
) -> None:
    made = phantoms.settings(tmp_path / kind, type=kind, trainer=trainer, options={**phantoms.TINY, **options})
    project = phantoms.project(made)
    for seed in (LEARN[0], VALIDATE[0]):
        phantoms.submit(project, seed)
    _, first = run(project, max_epochs=2)
    assert first["version"] == "segmentation-1"
    assert first["validation_cases"] == 1
    assert set(first["dice"]) == set(phantoms.NAMES)  # type: ignore[call-overload]
    project.catalog.versions.serve("segmentation-1", "ann")  # whatever the gate said of two epochs
    _, second = run(project, max_epochs=1)
    assert project.catalog.versions.get(str(second["version"])).parent == "segmentation-1"
    project.close()


def test_a_worse_version_is_kept_and_not_served(project: Project) -> None:
    for seed in [*LEARN[:4], *VALIDATE[:2]]:
        phantoms.submit(project, seed)
    run(project, max_epochs=12)
    for seed in LEARN[:4]:  # someone mixes up the two structures
        phantoms.submit(project, seed, labelmap=(3 - phantoms.voxels(seed)[1]) % 3)
    _, result = run(project, max_epochs=12)
    assert (result["version"], result["state"]) == ("segmentation-2", "rejected")
    assert "worse" in str(result["reason"])
    served = project.catalog.versions.served("segmentation")
    assert served is not None
    assert served.id == "segmentation-1"
    assert project.catalog.versions.get("segmentation-2").parent == "segmentation-1"


def test_without_validation_patients_the_first_version_is_published_and_no_other(project: Project) -> None:
    phantoms.submit(project, LEARN[0])
    _, result = run(project, max_epochs=1)
    assert result["state"] == "published"
    assert "best_metric" not in result
    assert "no validation patients" in str(result["reason"])
    _, again = run(project, max_epochs=1)
    assert (again["state"], project.catalog.versions.served("segmentation").id) == ("rejected", "segmentation-1")  # type: ignore[union-attr]
    assert "a person may publish it" in str(again["reason"])


def test_of_two_patients_the_second_is_for_validation(project: Project) -> None:
    phantoms.submit(project, LEARN[0])
    phantoms.submit(project, LEARN[1])
    _, result = run(project, max_epochs=1)
    assert (result["training_cases"], result["validation_cases"]) == (1, 1)


def test_the_served_version_is_compared_with_not_the_one_that_training_began_with(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person serves another version while a job trains."""
    for seed in (LEARN[0], VALIDATE[0]):
        phantoms.submit(project, seed)
    run(project, max_epochs=1)
    project.catalog.versions.serve("segmentation-1", "ann")
    run(project, max_epochs=12)
    measured = []

    def training_meanwhile(opened: Project, job: Job, *rest: object) -> None:
        project.catalog.versions.serve("segmentation-2", "ann")
        original(opened, job, *rest)  # type: ignore[arg-type]

    def judged(new: object, old: object, rule: object) -> Verdict:
        measured.append(old)
        return Verdict(False, "seen")

    original = training._train
    monkeypatch.setattr(training, "_train", training_meanwhile)
    monkeypatch.setattr(training, "judge", judged)
    run(project, max_epochs=1)
    assert measured[0].mean == pytest.approx(project.catalog.versions.get("segmentation-2").metrics["best_metric"])


def test_a_chain_of_versions_that_are_each_a_little_worse_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = phantoms.settings(tmp_path)
    learning = made.learning.model_copy(update={"gate_patients": 2})
    project = phantoms.project(made.model_copy(update={"learning": learning}))
    for seed in (LEARN[0], *VALIDATE[:2]):
        phantoms.submit(project, seed)
    dices = iter([0.800, 0.796, 0.800, 0.793, 0.796, 0.800])  # each candidate, and after it what it is compared with

    def measured(*arguments: object) -> Measured:
        dice = next(dices)
        return Measured([Found(f"p{n}", f"c{n}", "bright", dice) for n in range(2)], 2)

    monkeypatch.setattr(training, "_measure", measured)
    results = [run(project, max_epochs=1)[1] for _ in range(3)]
    assert [one["state"] for one in results] == ["published", "published", "rejected"]
    assert "compared with segmentation-1, the best so far: worse: mean Dice 0.793" in str(results[2]["reason"])
    assert list(dices) == []
    project.close()


def test_a_candidate_is_published_from_enough_patients_on(tmp_path: Path) -> None:
    made = phantoms.settings(tmp_path)
    learning = made.learning.model_copy(update={"gate_patients": 2})
    project = phantoms.project(made.model_copy(update={"learning": learning}))
    for seed in [*LEARN[:4], *VALIDATE[:2]]:
        phantoms.submit(project, seed)
    run(project, max_epochs=1)
    project.catalog.versions.serve("segmentation-1", "ann")
    _, result = run(project, max_epochs=12)
    assert (result["version"], result["state"]) == ("segmentation-2", "published"), result["reason"]
    project.close()


def test_a_job_that_is_run_again_after_publishing_publishes_nothing(project: Project) -> None:
    phantoms.submit(project, LEARN[0])
    job, result = run(project, max_epochs=1)
    assert dict(train(project, job, control(project, job))) == result
    assert len(project.catalog.versions.listed("segmentation")) == 1


def test_an_orphaned_folder_of_a_killed_run_is_no_obstacle(project: Project) -> None:
    phantoms.submit(project, LEARN[0])
    orphan = project.paths.models / "segmentation" / "1"
    orphan.mkdir(parents=True)
    (orphan / "weights.pt").write_bytes(b"half a file")
    _, result = run(project, max_epochs=1)
    served = project.catalog.versions.get(str(result["version"]))
    assert read_version(project.paths.models / served.folder).sha256 == served.sha256


def test_a_case_that_cannot_be_read_is_left_out(project: Project) -> None:
    broken = phantoms.submit(project, LEARN[0])
    phantoms.submit(project, LEARN[1])
    phantoms.submit(project, VALIDATE[0])
    project.labels.path(broken).write_bytes(b"not what was written")
    job, result = run(project, max_epochs=1)
    assert result["training_cases"] == 1
    assert [data["case"] for _, _, data in project.catalog.jobs.events(job.id, kind="log")] == [f"case-{LEARN[0]}"]


def test_reasons_for_not_training(project: Project, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="bright, dark"):
        run(project)
    phantoms.submit(project, VALIDATE[0])
    with pytest.raises(BadInput, match="kept for validation"):
        run(project)
    other = phantoms.project(phantoms.settings(tmp_path / "other", trainer="nobody"))
    phantoms.submit(other, LEARN[0])
    with pytest.raises(ConfigurationError, match="nobody"):
        run(other)
    other.close()


def test_a_stopped_run_ends_before_its_next_step(project: Project) -> None:
    phantoms.submit(project, LEARN[0])
    job = project.catalog.jobs.add("train", "segmentation", {})
    project.catalog.jobs.started(job.id, 1, 0.0)
    project.catalog.jobs.request_stop(job.id)
    with pytest.raises(Cancelled):
        train(project, job, control(project, job))
    assert project.catalog.versions.listed() == []


def test_a_new_structure_starts_from_what_fits(project: Project) -> None:
    phantoms.submit(project, LEARN[0], names=("bright",))
    run(project, max_epochs=1)
    phantoms.submit(project, LEARN[1])
    _, result = run(project, max_epochs=1)
    version = project.catalog.versions.get(str(result["version"]))
    assert read_version(project.paths.models / version.folder).spec.labels == phantoms.NAMES


def test_prepared_cases_are_used_again_and_removed_when_their_label_is_old(project: Project) -> None:
    for seed in (LEARN[0], LEARN[1], VALIDATE[0]):
        phantoms.submit(project, seed)
    run(project, max_epochs=1)
    folder = project.paths.cache / "prepared" / "segmentation" / "train"
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    phantoms.submit(project, LEARN[1], labelmap=np.zeros(phantoms.SHAPE, np.uint8))
    run(project, max_epochs=1)
    after = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert len(before) == len(after) == 4
    assert len(before.items() & after.items()) == 2
    shutil.rmtree(folder)  # it is only a cache
    run(project, max_epochs=1)


def test_only_structures_that_some_label_speaks_of_are_learnt(project: Project) -> None:
    assert learnable(phantoms.NAMES, labelled_cases(project)) == ()
    phantoms.submit(project, 0, names=("dark",))
    assert learnable(phantoms.NAMES, labelled_cases(project)) == ("dark",)


def test_zero_is_none_of_the_structures_that_the_label_speaks_of(project: Project) -> None:
    labelmap = np.zeros(phantoms.SHAPE, np.uint8)
    labelmap[0], labelmap[1] = 1, 2
    mask = phantoms.Mask.single(labelmap, ["dark", "other"], phantoms.geometry())
    asked = training_label(mask, ("dark",))
    assert [int(asked[k, 0, 0]) for k in range(3)] == [1, 0, 0]
    partly = training_label(mask, ("bright", "dark"))
    assert [int(partly[k, 0, 0]) for k in range(3)] == [2, 0, 0]
    label = phantoms.submit(project, 0, names=("dark",), labelmap=labelmap)
    assert examined_in(label, ("bright", "dark")) == {2}
    absent = phantoms.submit(project, 0, names=("bright", "dark"), labelmap=labelmap * 0)
    assert examined_in(absent, ("bright", "dark")) == {1, 2}
    row = project.catalog.cases.get("case-0")
    spec = trainer_of(project, "segmentation", {}).spec(("bright", "dark"), None)
    samples, _ = prepare(project, project.paths.cache / "p", [Labelled(row, label)], spec, lambda: None)
    assert (samples[0].examined, set(np.unique(samples[0].label))) == ({2}, {0, 2})
