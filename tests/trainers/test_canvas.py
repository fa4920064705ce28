"""What the trainer of nnInteractive models shows the network is what a session shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.core.prompt import Lasso, Point, Scribble
from app.core.prompt import Region as Box
from app.core.training import Sample
from app.core.volume import Geometry, Index, Volume
from app.models.device import Device
from app.models.nninteractive.model import NnInteractive
from app.models.nninteractive.versions import ModelFolderBase
from app.models.registry import ModelOptions
from app.models.trained.preparation import prepare_image
from tests.models.folders import PATCH, tiny_nninteractive
from trainers._canvas import Canvas, Layout, Region
from trainers._clicking import Clicking, Habits, Target

SHAPE = (23, 40, 51)


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nninteractive(tmp_path_factory.mktemp("models") / "tiny", seed=1)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Any:
    into = tmp_path_factory.mktemp("versions") / "1"
    return ModelFolderBase().copy(ModelOptions(source=str(weights)), into).version.spec


@pytest.fixture(scope="module")
def volume() -> Volume:
    voxels = np.random.default_rng(0).normal(100, 30, SHAPE).astype(np.float32)
    voxels[:, :5] = 0  # cropped: the library normalises by what is inside
    return Volume(voxels, Geometry(SHAPE, np.eye(4)))


@pytest.mark.parametrize(("zoom", "centre"), [(1, (11, 20, 25)), (1, (2, 38, 4)), (2, (11, 20, 24)), (4, (9, 20, 24))])
def test_a_view_is_the_session_s(
    weights: Path, device: Device, spec: Any, volume: Volume, zoom: int, centre: Index
) -> None:
    session: Any = NnInteractive("n", weights, device, patches=3, autozoom=False).open(volume, {})
    stroke, lasso = np.ones((1, 6, 1), bool), np.ones((1, 8, 10), bool)
    stroke_at, lasso_at = Box((8, 20, 24), (9, 26, 25)), Box((8, 16, 20), (9, 24, 30))
    low = tuple(c - PATCH * zoom // 2 for c in centre)
    cell = tuple((c - a) // zoom for c, a in zip(centre, low, strict=True))  # the clicked one, in the view
    session.add(Point(centre), predict=False)
    session.add(Point((11, 17, 22), include=False), predict=False)
    if zoom == 1:
        session.add(Scribble(stroke_at, stroke, include=False), predict=False)
        session.add(Lasso(lasso_at, lasso), predict=False)
    mask = np.zeros(SHAPE, np.float16)
    mask[5:14, 12:30, 15:35] = 1
    session._library._paste_interactions(0, torch.from_numpy(mask), [[0, n] for n in SHAPE])
    theirs = session._library._build_network_input(centre, float(zoom))[0].float().numpy()

    layout = Layout.of(spec.arguments["input"])
    image = prepare_image(volume, spec)
    if zoom == 1:
        canvas = Canvas(layout, SHAPE)
        canvas.add_point(centre, True)
        canvas.add_point((11, 17, 22), False)
        canvas.add_drawing("scribble", Region(stroke_at.slices, stroke), False)
        canvas.add_drawing("lasso", Region(lasso_at.slices, lasso), True)
        canvas.previous[:] = mask
        ours = canvas.view(image, centre, (PATCH, PATCH, PATCH))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-3)  # theirs is in half precision
    else:
        canvas = Canvas(layout, (PATCH, PATCH, PATCH), zoom)
        canvas.add_point(cell, True)
        canvas.strength /= layout.decay
        point = canvas.view(np.zeros((PATCH,) * 3, np.float32), cell, (PATCH, PATCH, PATCH))[1 + layout.points[0]]
        shown = theirs[1 + layout.points[0]]
        # A cell has an even number of voxels, so the clicked one lies half a voxel beside its middle.
        assert np.unravel_index(point.argmax(), point.shape) == pytest.approx(cell)
        assert point.max() == pytest.approx(shown.max(), abs=0.25)
        assert point.sum() == pytest.approx(shown.sum(), rel=0.35)


def test_an_episode_is_drawn_around_a_structure_that_is_segmented(spec: Any) -> None:
    layout = Layout.of(spec.arguments["input"])
    label = np.zeros(SHAPE, np.uint8)
    label[7:17, 10:20, 10:20] = 2
    label[0] = 255
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    sample = Sample("a", "b", image, label, frozenset({1, 2}))
    targets = Target.all_of(sample)
    assert [(one.structure, one.extent) for one in targets] == [(2, (10, 10, 10))]  # 1 is absent, 255 not known
    one = Clicking(sample, targets[0], layout, (PATCH,) * 3, Habits(2, 0.0, varied=False), np.random.default_rng(0))
    seen, (truth, known) = one.view(), one.target()
    assert truth.sum() == 10**3
    np.testing.assert_array_equal(known, seen[0] != 0)  # the patch reaches to the slice of which nothing is known
    assert seen[1 + layout.points[0], PATCH // 2, PATCH // 2, PATCH // 2] == pytest.approx(1)
    one.absorb(np.zeros_like(truth))  # missed: clicked there again
    assert not one.finished
    one.absorb(np.ones_like(truth))  # everything: an excluding click
    assert one.view()[1 + layout.points[1]].any()
    one.absorb(truth)
    assert one.finished
