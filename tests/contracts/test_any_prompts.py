"""Whatever is prompted on whatever image can be opened, an interactive model answers or refuses with a reason, and
undo takes back exactly what was done. Asked of every interactive model; with zooming, as by default, where there is
any."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.core.model import PROMPTED, InteractiveModel, InteractiveSession
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Geometry, Index, Volume
from app.errors import BadInput, BadPrompt, SegloopError
from app.models.device import Device
from app.models.nninteractive.folder import find_folder
from app.models.nninteractive.model import NnInteractive
from tests.contracts.model_samples import Sample, samples
from tests.models.folders import tiny_nninteractive

SHAPES: list[Index] = [(1, 18, 22), (3, 26, 24), (30, 14, 12), (21, 1, 17), (9, 23, 2), (20, 70, 9)]


@dataclass(frozen=True)
class Tried:
    """`guarded`: the clicked voxel ends on its side. `examples`: how many sequences there is time for."""

    model: InteractiveModel
    guarded: bool
    examples: int


def _folder(patch: int, asks: dict[str, Any]) -> Callable[[Path, Device], Tried]:
    def make(folder: Path, device: Device) -> Tried:
        background = 4.0 if patch > 16 else 0.0  # a random mask that runs everywhere is refined for minutes
        weights = tiny_nninteractive(folder / "tiny", seed=1, patch=patch, background=background)
        (weights / "segloop.json").write_text(json.dumps(asks))
        return Tried(NnInteractive("tiny", weights, device), bool(asks.get("guard")), 6)

    return make


def _demo(_: Path, device: Device) -> Tried:
    return Tried(NnInteractive("starter", find_folder("starter"), device), True, 2)


def _every() -> list[Any]:
    """Every model type that can be prompted, nninteractive as folders may ask for it."""
    plain = [one.values[0] for one in samples(*PROMPTED) if one.values[0].type.name != "nninteractive"]
    made = {sample.name: partial(_plain, sample) for sample in plain}
    folders: dict[str, Callable[[Path, Device], Tried]] = {
        "nninteractive": _folder(80, {}),
        "nninteractive_guarded": _folder(80, {"guard": True}),
        "nninteractive_limited": _folder(80, {"guard": True, "patches": 3}),
        "nninteractive_small_patch": _folder(16, {"guard": True}),
        "nninteractive_small_patch_limited": _folder(16, {"patches": 2}),
        "nninteractive_first_patch": _folder(16, {"patches": 0}),
        "nninteractive_demo": _demo,
    }
    return [pytest.param(make, id=name) for name, make in {**made, **folders}.items()]


def _plain(sample: Sample, folder: Path, device: Device) -> Tried:
    return Tried(sample.make(folder, device), False, 15)


@pytest.fixture(scope="module", params=_every())
def tried(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    device = Device("cpu", threads=1)
    yield request.param(tmp_path_factory.mktemp("tried"), device)
    device.shutdown()


@st.composite
def volumes(draw: st.DrawFn) -> Volume:
    """Thin, cropped with zero borders, flat in large parts, with reversed axes, oblique, in any type."""
    shape = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    voxels = rng.normal(40, 12, shape)
    structure = tuple(slice(n // 3, n // 3 + max(1, n // 2)) for n in shape)
    voxels[structure] += draw(st.sampled_from([0, 60, 5000]))
    if draw(st.booleans()):
        voxels = np.round(voxels / 60) * 60  # two or three values in all
    if draw(st.booleans()):
        border = np.ones(shape, bool)
        border[tuple(slice(n // 4, n - n // 4) for n in shape)] = False
        voxels[border] = 0
    voxels = voxels.astype(draw(st.sampled_from(["int16", "uint8", "float32", "float64"])))
    if draw(st.booleans()):
        voxels = voxels[::-1, :, ::-1]
    affine = np.diag([0.7, 0.7, draw(st.sampled_from([0.7, 5.0])), 1.0])
    angle = draw(st.sampled_from([0.0, 0.4]))
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Volume(voxels, Geometry(shape, turn @ affine), "CT")


@st.composite
def regions(draw: st.DrawFn, shape: Index, *, flat: bool) -> Region:
    low = [draw(st.integers(0, n - 1)) for n in shape]
    high = [draw(st.integers(a + 1, n)) for a, n in zip(low, shape, strict=True)]
    if flat:
        axis = draw(st.integers(0, 2))
        high[axis] = low[axis] + 1
    return Region((low[0], low[1], low[2]), (high[0], high[1], high[2]))


@st.composite
def prompts(draw: st.DrawFn, shape: Index) -> Prompt:
    """Anything anywhere inside; strokes and lassos in all three planes."""
    kind = draw(st.sampled_from([Point, Point, Point, Scribble, Scribble, Box, Lasso, InitialMask]))
    include = draw(st.booleans())
    if kind is Point:
        k, j, i = (draw(st.integers(0, n - 1)) for n in shape)
        return Point((k, j, i), include)
    if kind is InitialMask:
        mask = np.zeros(shape, bool)
        mask[draw(regions(shape, flat=False)).slices] = True
        return InitialMask(mask, refine=include)
    if kind is Box:
        return Box(draw(regions(shape, flat=draw(st.booleans()))), include)
    region = draw(regions(shape, flat=True))
    voxels = np.ones(region.shape, bool)
    if kind is Scribble and voxels.size > 2:
        voxels.flat[:: draw(st.integers(2, 3))] = False
    return (Scribble if kind is Scribble else Lasso)(region, voxels, include)


@dataclass(frozen=True)
class Story:
    volume: Volume
    prompts: list[tuple[Prompt, bool]]
    """Each with whether it is predicted from at once."""


@st.composite
def stories(draw: st.DrawFn) -> Story:
    volume = draw(volumes())
    step = st.tuples(prompts(volume.geometry.shape), st.sampled_from([True, True, True, False]))
    return Story(volume, draw(st.lists(step, min_size=2, max_size=5)))


def clicked(prompt: Prompt) -> Index | None:
    """The voxel that has to end on the prompt's side: the point, or the middle one of a stroke."""
    if isinstance(prompt, Point):
        return prompt.at
    if isinstance(prompt, Scribble):
        drawn = np.argwhere(prompt.voxels)
        k, j, i = (int(x) for x in drawn[len(drawn) // 2] + prompt.region.low)
        return k, j, i
    return None


def check_reason(error: SegloopError) -> None:
    assert str(error)


def take(session: InteractiveSession, prompt: Prompt, predict: bool, guarded: bool) -> None:
    """One prompt: done, undone, done again."""
    before = session.mask.copy()
    try:
        region = session.add(prompt, predict=predict)
    except BadPrompt as error:
        check_reason(error)
        np.testing.assert_array_equal(session.mask, before)
        return
    after = session.mask.copy()
    assert set(np.unique(after)) <= {0, 1}
    assert region == Region.around(before != after)

    assert session.undo() == region
    np.testing.assert_array_equal(session.mask, before)
    assert session.add(prompt, predict=predict) == region
    np.testing.assert_array_equal(session.mask, after)
    at = clicked(prompt)
    if guarded and predict and at is not None:
        assert bool(after[at]) == prompt.include  # type: ignore[union-attr]


def test_no_sequence_of_prompts_on_any_image_is_an_error(tried: Tried) -> None:
    @settings(
        max_examples=tried.examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(stories())
    def tell(story: Story) -> None:
        try:
            session = tried.model.open(story.volume, {})
        except BadInput as error:
            check_reason(error)
            return
        for prompt, predict in story.prompts:
            take(session, prompt, predict, tried.guarded)
        before = session.mask.copy()
        region = session.predict(full_refine=True)
        assert region == Region.around(before != session.mask)
        session.close()

    tell()


@pytest.mark.parametrize(
    "voxels",
    [
        np.full((5, 6, 7), 3, np.int16),
        np.pad(np.full((3, 4, 5), 3, np.int16), 1),
        np.pad(np.ones((1, 1, 1), np.uint8), 3),
        np.where(np.indices((5, 6, 7))[0] == 2, np.nan, 1.0),
        np.where(np.indices((5, 6, 7))[0] == 2, np.inf, 1.0),
        np.where(np.indices((5, 6, 7))[0] == 2, 1e300, 1.0),
    ],
    ids=["constant", "constant in zeros", "one voxel", "nan", "infinite", "too large"],
)
def test_images_without_anything_to_tell_apart_are_refused_or_work(tried: Tried, voxels: np.ndarray) -> None:
    k, j, i = voxels.shape
    try:
        session = tried.model.open(Volume(voxels, Geometry((k, j, i), np.eye(4))), {})
    except BadInput as error:
        check_reason(error)
        return
    take(session, Point((2, 3, 3)), True, tried.guarded)
    take(session, Scribble(Region((1, 1, 1), (2, 4, 2)), np.ones((1, 3, 1), bool)), True, tried.guarded)
    session.close()
