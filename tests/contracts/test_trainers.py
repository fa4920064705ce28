"""Every trainer is asked the same questions, with networks so small that they answer in seconds."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import plugins
from app.core.training import ModelSpec, Sample, Trainer, TrainingRun
from app.errors import Cancelled
from app.models.registry import MODEL_TYPES, ModelOptions
from tests.learning import phantoms
from tests.models.folders import tiny_nninteractive

FOUND = plugins.trainers()
SHAPES = {
    "segmentation": phantoms.TINY,
    "deepedit": {**phantoms.TINY, "clicks": 1},
    "deepgrow": {**phantoms.TINY, "dimension": 3, "clicks": 1},
    "deepgrow 2D": {**phantoms.TINY, "dimension": 2, "patch": "1,16,16", "clicks": 1},
    "nninteractive": {"batch": 2, "steps_per_epoch": 4, "clicks": 1},
    "nninteractive all": {"batch": 2, "steps_per_epoch": 4, "clicks": 1, "weights": "all"},
}


@dataclass(frozen=True)
class Subject:
    """A trainer with what it trains; `store` is where the version is that one with a base goes on from."""

    trainer: Trainer
    spec: ModelSpec
    store: Path | None = None

    def network(self) -> Any:
        """The same every time."""
        import torch

        from app.models.trained.networks import build_network

        base = MODEL_TYPES.get(self.spec.type).base
        if base is not None:
            assert self.store is not None
            return base.network(self.spec, self.store)
        torch.manual_seed(3)
        return build_network(self.spec)

    def run(self, epochs: int = 2, **changes: Any) -> TrainingRun:
        run = TrainingRun(
            spec=self.spec,
            network=self.network(),
            device="cpu",
            train=[phantoms.sample(seed) for seed in range(2)],
            validate=[phantoms.sample(seed) for seed in (7, 8)],
            epochs=epochs,
            seed=5,
            pause=lambda: None,
        )
        return replace(run, **changes)


@pytest.fixture(params=sorted(SHAPES))
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Subject:
    trainer: Trainer = FOUND.found[request.param.split()[0]].create(SHAPES[request.param])
    base = MODEL_TYPES.get(trainer.model_types[0]).base
    if base is None:
        return Subject(trainer, trainer.spec(phantoms.NAMES, None))
    options = ModelOptions(source=str(tiny_nninteractive(tmp_path / "tiny")))
    parent = base.copy(options, tmp_path / "store" / "1").version.spec
    return Subject(trainer, trainer.spec(phantoms.NAMES, parent), tmp_path / "store")


def test_all_that_ship_are_asked() -> None:
    assert FOUND.broken == ()
    assert {name.split()[0] for name in SHAPES} == set(FOUND.found)


def test_the_spec_names_a_network_that_can_be_built(subject: Subject) -> None:
    subject.network()
    assert subject.spec.labels == phantoms.NAMES


def test_it_states_which_model_types_it_serves_and_makes_one_of_them(subject: Subject) -> None:
    assert subject.spec.type in subject.trainer.model_types
    assert all(MODEL_TYPES.get(name).trained for name in subject.trainer.model_types)


def test_a_parent_that_fits_is_kept(subject: Subject) -> None:
    parent = replace(subject.spec, spacing=(9.0, 9.0, 9.0))
    assert subject.trainer.spec(phantoms.NAMES, parent) == parent
    grown = subject.trainer.spec(("bright", "dark", "new"), parent)
    assert grown.labels == ("bright", "dark", "new")


def test_epochs_count_up_and_report(subject: Subject) -> None:
    epochs = [(one.number, one.total, dict(one.metrics)) for one in subject.trainer.train(subject.run())]
    assert [(number, total) for number, total, _ in epochs] == [(1, 2), (2, 2)]
    for _, _, metrics in epochs:
        assert np.isfinite(metrics["loss"])
        assert 0 <= metrics["dice"] <= 1


def test_without_validation_cases_there_is_no_dice(subject: Subject) -> None:
    (epoch,) = subject.trainer.train(subject.run(epochs=1, validate=[]))
    assert "dice" not in epoch.metrics


def test_it_learns(subject: Subject) -> None:
    quick = replace(subject.trainer, steps_per_epoch=20, learning_rate=1e-2)  # type: ignore[type-var]
    losses = [epoch.metrics["loss"] for epoch in quick.train(subject.run(epochs=4))]
    assert losses[-1] < 0.85 * losses[0]


def test_interrupted_and_uninterrupted_runs_are_the_same(subject: Subject) -> None:
    import torch

    straight = [dict(one.metrics) for one in subject.trainer.train(subject.run(epochs=3))]
    first = subject.run(epochs=3)
    epoch = next(iter(subject.trainer.train(first)))
    torch.rand(random.randint(1, 9))  # whatever else happened to the random state
    second = subject.run(epochs=3, network=first.network, resume=_stored(epoch.state))
    resumed = [dict(one.metrics) for one in subject.trainer.train(second)]
    assert resumed == [pytest.approx(metrics, rel=1e-4, abs=1e-6) for metrics in straight[1:]]


def test_a_finished_run_has_no_epoch_left(subject: Subject) -> None:
    (epoch,) = subject.trainer.train(subject.run(epochs=1))
    assert list(subject.trainer.train(subject.run(epochs=1, resume=_stored(epoch.state)))) == []


def test_it_pauses_before_every_step_and_stops_there(subject: Subject) -> None:
    steps = 0

    def pause() -> None:
        nonlocal steps
        steps += 1
        if steps == 6:
            raise Cancelled("enough")

    # Without validation cases: measuring may pause, too.
    epochs = iter(subject.trainer.train(subject.run(epochs=5, pause=pause, validate=[])))
    assert next(epochs).number == 1  # four steps each
    with pytest.raises(Cancelled):
        next(epochs)


def test_unknown_voxels_and_cases_without_structures_are_no_error(subject: Subject) -> None:
    whole = phantoms.sample(0)
    empty = Sample("e", "e", whole.image, np.zeros_like(whole.label), frozenset({1, 2}))
    unknown = Sample(
        "u", "u", whole.image, np.where(whole.label == 0, 255, whole.label).astype(np.uint8), frozenset({1, 2})
    )
    nothing = Sample("n", "n", whole.image, np.zeros_like(whole.label), frozenset({2}))
    for samples in ([empty], [unknown], [empty, unknown], [nothing]):
        (epoch,) = subject.trainer.train(subject.run(epochs=1, train=samples, validate=samples))
        assert np.isfinite(epoch.metrics["loss"])


def test_samples_are_opened_one_at_a_time_and_never_written_to(subject: Subject) -> None:
    class Opened(list[Sample]):
        def __iter__(self) -> Any:
            raise AssertionError("a trainer indexes samples; going through them all would load them all")

    samples = Opened([phantoms.sample(0), phantoms.sample(1)])
    for index in range(2):
        samples[index].image.setflags(write=False)
        samples[index].label.setflags(write=False)
    list(subject.trainer.train(subject.run(epochs=1, train=samples, validate=samples)))


def _stored(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The state as the host gets it back from disk."""
    import io

    import torch

    file = io.BytesIO()
    torch.save(dict(state), file)
    file.seek(0)
    loaded: Mapping[str, Any] = torch.load(file, weights_only=True)
    return loaded
