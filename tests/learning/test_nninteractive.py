"""The interactive model learns from labels: what is stored, what is served, what is gone back to."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.core.job import Job
from app.core.prompt import Point
from app.core.volume import Volume
from app.errors import BadFile, Cancelled, ModelNotTrained
from app.learning.control import Control
from app.learning.dataset import is_validation
from app.learning.training import train
from app.models.device import Device
from app.models.nninteractive.library import load_artifacts
from app.models.nninteractive.model import NnInteractive
from app.models.nninteractive.versions import read_model
from app.models.trained.spec import read_weights
from app.project.open_models import open_models, served_version
from app.project.project import Project
from app.services.models import ModelService
from app.settings import Settings
from tests.learning import phantoms
from tests.models.folders import tiny_nninteractive

NAME = "segmentation"  # as phantoms.settings has it
LEARN = [seed for seed in range(12) if not is_validation(f"patient-{seed}", 5)]
VALIDATE = [seed for seed in range(12) if is_validation(f"patient-{seed}", 5)]
QUICK = {"batch": 1, "steps_per_epoch": 3, "clicks": 1}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nninteractive(tmp_path_factory.mktemp("models") / "tiny", seed=1)


def settings(workspace: Path, source: Path, **options: Any) -> Settings:
    made = phantoms.settings(
        workspace,
        type="nninteractive",
        source=str(source),
        trainer="nninteractive",
        options={**QUICK, **options},
        patches=0,
    )
    learning = made.learning.model_copy(update={"gate_patients": 1})
    return made.model_copy(update={"learning": learning})


@pytest.fixture
def project(tmp_path: Path, source: Path) -> Iterator[Project]:
    opened = labelled(phantoms.project(settings(tmp_path, source)))
    yield opened
    opened.close()


def labelled(project: Project) -> Project:
    for seed in (LEARN[0], VALIDATE[0]):
        phantoms.submit(project, seed)
    return project


class Interrupted(Control):
    """Is stopped before the given step."""

    def __init__(self, project: Project, job: Job, before: int = 10**9) -> None:
        super().__init__(project.catalog.jobs, job.id, project.paths.interaction, pause_seconds=0)
        self._left = before

    def pause(self) -> None:
        super().pause()
        self._left -= 1
        if self._left == 0:
            raise Cancelled("interrupted")


def queued(project: Project, epochs: int = 2) -> Job:
    job = project.catalog.jobs.add("train", NAME, {"max_epochs": epochs})
    project.catalog.jobs.started(job.id, 1, 0.0)
    return job


def trained(project: Project, epochs: int = 2) -> Mapping[str, object]:
    job = queued(project, epochs)
    result = train(project, job, Interrupted(project, job))
    project.catalog.jobs.finish(job.id, "done", result)
    return result


def model(project: Project, number: int) -> NnInteractive:
    store = project.paths.models / NAME
    return NnInteractive(NAME, store / str(number), Device("cpu", threads=1), patches=0, store=store)


def clicked(made: Any, volume: Volume) -> np.ndarray:
    session = made.open(volume, {"autozoom": False})
    try:
        session.add(Point((6, 12, 6)))
        return np.array(session.mask)
    finally:
        session.close()


def state(project: Project, number: int) -> dict[str, torch.Tensor]:
    """The network of a version, as it is loaded."""
    store = project.paths.models / NAME
    return dict(load_artifacts(read_model(store / str(number), store))["network"].state_dict())


def test_only_the_normalisation_is_trained_and_stored(project: Project, source: Path) -> None:
    result = trained(project)
    base, new = (project.catalog.versions.get(f"{NAME}-{number}") for number in (1, 2))
    assert (base.state, base.parent, base.licence) == ("published", "", "Test licence 1.0")
    assert (new.id, new.parent, new.licence) == (result["version"], base.id, "Test licence 1.0")
    assert result["dice_after_clicks"].keys() == {"1", "3", "5"}  # type: ignore[attr-defined]
    assert result["best_metric"] == pytest.approx(np.mean(list(result["dice"].values())))  # type: ignore[attr-defined]

    assert "served version" in str(new.reason)  # the base was measured on the same structures

    folder = project.paths.models / new.folder
    stored = read_weights(folder / "weights.pt", new.sha256)
    assert {tuple(value.shape) for value in stored.values()} <= {(4,), (8,)}
    assert {file.name for file in folder.iterdir()} == {"model.json", "weights.pt", "metrics.json"}
    assert (folder / "weights.pt").stat().st_size < 20_000
    before, after = state(project, 1), state(project, 2)
    original = torch.load(source / "fold_0" / "checkpoint_final.pth", weights_only=True)["network_weights"]
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert changed <= set(stored)
    for name, value in before.items():
        torch.testing.assert_close(value, original[name], rtol=0, atol=0)
    for name, value in stored.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path: Path, source: Path) -> None:
    ends = []
    for name, steps in (("straight", None), ("interrupted", 19)):
        project = labelled(phantoms.project(settings(tmp_path / name, source)))
        job = queued(project, epochs=2)
        if steps is not None:
            with pytest.raises(Cancelled):
                train(project, job, Interrupted(project, job, before=steps))
            assert [data["epoch"] for _, _, data in project.catalog.jobs.events(job.id, kind="epoch")]
            assert len(project.catalog.versions.listed(NAME)) == 1  # the base, once
        train(project, job, Interrupted(project, job))
        assert [one.number for one in project.catalog.versions.listed(NAME)] == [2, 1]
        ends.append(read_weights(project.paths.models / NAME / "2" / "weights.pt"))
        project.close()
    straight, interrupted = ends
    assert straight.keys() == interrupted.keys()
    assert all(torch.equal(straight[name], interrupted[name]) for name in straight)


def test_all_weights_can_be_trained_and_an_adapter_goes_on_from_them(tmp_path: Path, source: Path) -> None:
    project = labelled(phantoms.project(settings(tmp_path, source, weights="all")))
    trained(project, epochs=1)
    full = state(project, 2)
    assert set(read_weights(project.paths.models / NAME / "2" / "weights.pt")) == set(full)
    project.catalog.versions.serve(f"{NAME}-2", "ann")  # whatever the gate said
    project.close()
    project = Project.open(settings(tmp_path, source), phantoms.archive(12))
    trained(project, epochs=1)
    assert project.catalog.versions.get(f"{NAME}-3").parent == f"{NAME}-2"
    third = state(project, 3)
    kernels = [name for name in full if full[name].ndim == 5]
    assert kernels
    assert all(torch.equal(full[name], third[name]) for name in kernels)
    project.close()


def test_it_is_served_and_gone_back_to_while_a_session_keeps_its_weights(project: Project, source: Path) -> None:
    device = Device("cpu", threads=1)
    services = ModelService(project, open_models(project, device), device)
    volume = Volume(phantoms.voxels(LEARN[1])[0], phantoms.geometry())
    plain = NnInteractive("plain", source, Device("cpu", threads=1), patches=0)
    expected = clicked(plain, volume)

    begun = services.version(NAME)
    assert begun == plain.card.version
    session = services.interactive(NAME).open(volume, {"autozoom": False})
    with pytest.raises(ModelNotTrained):
        services.weights_file(NAME)
    trained(project, epochs=1)
    services.refresh()
    if services.version(NAME) == begun:  # the gate decided by three steps of a random network
        with pytest.raises(ModelNotTrained):
            services.weights_file(NAME)  # the base: nothing of this server's own
        services.serve(f"{NAME}-2", "ann")
    assert services.version(NAME) == f"{project.catalog.versions.get(f'{NAME}-2').sha256[:12]}-0p"
    assert services.card(NAME).licence == "Test licence 1.0"
    assert services.weights_info(NAME).sha256 == project.catalog.versions.get(f"{NAME}-2").sha256
    np.testing.assert_array_equal(clicked(services.interactive(NAME), volume), clicked(model(project, 2), volume))

    session.add(Point((6, 12, 6)))
    assert session.version == begun
    np.testing.assert_array_equal(session.mask, expected)
    session.close()
    earlier = services.interactive_at(NAME, begun)
    assert earlier is not None
    np.testing.assert_array_equal(clicked(earlier, volume), expected)

    assert services.roll_back(NAME, "ann").id == f"{NAME}-1"
    assert services.version(NAME) == begun
    np.testing.assert_array_equal(clicked(services.interactive(NAME), volume), expected)
    device.shutdown()


def test_another_source_is_served_as_it_is_and_trained_anew(project: Project, source: Path, tmp_path: Path) -> None:
    trained(project, epochs=1)
    project.catalog.versions.serve(f"{NAME}-2", "ann")
    project.close()
    other = tiny_nninteractive(tmp_path / "other", seed=2)
    project = Project.open(settings(tmp_path, other), phantoms.archive(12))
    assert served_version(project, NAME) is None
    device = Device("cpu", threads=1)
    services = ModelService(project, open_models(project, device), device)
    assert services.version(NAME) == NnInteractive("plain", other, device, patches=0).card.version
    trained(project, epochs=1)
    assert project.catalog.versions.get(f"{NAME}-4").parent == f"{NAME}-3"
    device.shutdown()
    project.close()


def test_a_version_whose_base_is_another_one_is_refused(project: Project, tmp_path: Path) -> None:
    trained(project, epochs=1)
    store = project.paths.models / NAME
    shutil.rmtree(store / "1" / "fold_0")
    shutil.copytree(tiny_nninteractive(tmp_path / "other", seed=2) / "fold_0", store / "1" / "fold_0")
    with pytest.raises(BadFile, match="trained from"):
        read_model(store / "2", store)
