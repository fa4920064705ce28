"""The shipped starter model: its folder, and a few clicks on small held-out phantoms through the real session."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("nnInteractive")

from bench.starter_model import evaluate  # noqa: E402
from bench.starter_model.phantoms import plain_phantom  # noqa: E402

FOLDER = Path(__file__).parents[2] / "app" / "models" / "starter"
LICENSE_LINE = "Apache-2.0 (starter model, trained on synthetic images only; not for patients)"
ROBUST_DICE = 0.9


def test_folder_is_small_and_says_what_it_is() -> None:
    assert (FOLDER / "LICENSE").read_text().splitlines()[0] == LICENSE_LINE
    assert "not for patients" in (FOLDER / "README.md").read_text()
    assert (FOLDER / "fold_0" / "checkpoint_final.pth").stat().st_size <= 20_000_000
    assert json.loads((FOLDER / "inference_info.json").read_text())["supported_interactions"]["points"]


def test_checkpoint_holds_plain_tensors_only() -> None:
    checkpoint = torch.load(FOLDER / "fold_0" / "checkpoint_final.pth", weights_only=True)
    assert checkpoint["trainer_name"] == "nnInteractiveTrainer_stub"
    assert checkpoint["init_args"]["configuration"] == "3d_fullres"
    assert all(torch.isfinite(weight).all() for weight in checkpoint["network_weights"].values())


def test_session_clicks_on_held_out_phantoms() -> None:
    session = evaluate.open_session(FOLDER, threads=1)
    session.set_do_autozoom(False)
    assert session.license == LICENSE_LINE
    rng = np.random.default_rng(7)
    scores = []
    for _ in range(3):
        phantom = plain_phantom(rng, ("superquadric",), 64, first=("superquadric", (7.0, 11.0)))
        case = evaluate.click_through(session, phantom, "test", clicks=2)
        scores.append(case.dice_after(1))
        assert case.dice_after(2) >= case.dice_after(1) - 0.05
    assert float(np.mean(scores)) >= ROBUST_DICE
