"""The making of the starter model: scenes and banks are repeatable, training goes on where it stopped, and what comes
out is a model folder like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnInteractive")

from app.models.nninteractive.folder import read_folder  # noqa: E402
from bench.starter_model import bank, compare, evaluate  # noqa: E402
from bench.starter_model.architecture import build_network, save_weights, write_folder  # noqa: E402
from bench.starter_model.bank import fill, load, training_sample  # noqa: E402
from bench.starter_model.episodes import Episode  # noqa: E402
from bench.starter_model.phantoms import Phantom  # noqa: E402
from bench.starter_model.scenes import HELD_OUT_FAMILIES, TRAINING_FAMILIES, targets  # noqa: E402
from bench.starter_model.train import Plan, Run, train  # noqa: E402

LARGEST = 20_000_000


@pytest.mark.parametrize("name", [*TRAINING_FAMILIES, *HELD_OUT_FAMILIES])
def test_a_scene_is_repeatable_and_has_structures_to_ask_for(name: str) -> None:
    family = {**TRAINING_FAMILIES, **HELD_OUT_FAMILIES}[name]
    one, two = (family(np.random.default_rng(5), (20, 28, 32)) for _ in range(2))
    np.testing.assert_array_equal(one.labels, two.labels)
    assert targets(one)
    for group in targets(one):
        assert np.isin(one.labels, group).any()


def test_what_is_chosen_by_is_never_trained_on() -> None:
    assert not set(TRAINING_FAMILIES) & set(HELD_OUT_FAMILIES)


def test_a_bank_is_filled_up_and_holds_what_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "LONGEST", 66)
    fill(tmp_path, 2, seed=4)
    (tmp_path / "000000.npz").unlink()
    fill(tmp_path, 2, seed=4)
    made, stored = training_sample(np.random.default_rng([4, 0])), load(tmp_path / "000000.npz")
    np.testing.assert_array_equal(stored.labels, made.labels)
    np.testing.assert_allclose(stored.image, made.image, rtol=1e-2, atol=1e-2)
    assert stored.groups == made.groups
    assert len(list(tmp_path.iterdir())) == 2


def test_an_episode_corrects_the_largest_error() -> None:
    _, sample, group = next(compare.held_out(1, seed=3))
    episode = Episode(sample, group, 32, np.random.default_rng(0), plain=True)
    assert episode.centre is not None
    assert episode.truth[episode.centre]
    episode.absorb(np.ones((32, 32, 32), np.float32))  # everything in sight
    assert episode.centre is not None
    assert not episode.truth[episode.centre]
    assert episode.canvas.channels[4].any()  # an excluding click


def test_training_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank, "LONGEST", 65)
    monkeypatch.setattr("bench.starter_model.train.patch_schedule", lambda progress: (32, 1))
    fill(tmp_path / "bank", 1, seed=4)
    checkpoint = tmp_path / "run.pt"
    first = train(Plan([tmp_path / "bank"], checkpoint, steps=1), build_network())
    second = train(Plan([tmp_path / "bank"], checkpoint, steps=2), build_network())
    assert (first.step, second.step) == (1, 2)
    kept = Run(build_network(), torch.optim.AdamW([torch.zeros(1, requires_grad=True)]))
    assert set(torch.load(checkpoint, weights_only=True)["average"]) == set(kept.network.state_dict())


def test_a_folder_opens_as_any_other_and_clicks(tmp_path: Path) -> None:
    write_folder(tmp_path)
    save_weights(tmp_path, build_network().state_dict())
    folder = read_folder(tmp_path)
    assert folder.guard
    assert "not for patients" in folder.licence
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) < LARGEST
    session = evaluate.open_session(tmp_path, threads=1)
    session.set_do_autozoom(False)
    _, sample, group = next(compare.held_out(1, seed=3))
    phantom = Phantom(sample.image, np.isin(sample.labels, group).astype(np.uint8), ("scene",))
    first, second = (evaluate.click_through(session, phantom, "test", clicks=2) for _ in range(2))
    assert [step.after for step in first.steps] == [step.after for step in second.steps]
