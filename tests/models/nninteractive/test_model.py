"""The adapter against the bare library: the same voxels, none of its traps."""

from __future__ import annotations

import json
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
from numpy.typing import NDArray

from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Geometry, Volume
from app.errors import BadFile, BadInput, BadPrompt, UnknownModel
from app.models.device import Device
from app.models.nninteractive.folder import find_folder, read_folder
from app.models.nninteractive.library import Storage
from app.models.nninteractive.model import NnInteractive
from app.models.precision import in_precision
from tests.models.folders import PATCH, tiny_nninteractive
from tests.models.volumes import ball_mask, ball_volume

PLAIN = {"autozoom": False}  # a random network's mask crosses every border, and zooming follows it for minutes

PROMPTS: list[Prompt] = [
    Point((11, 13, 17)),
    Box(Region((11, 8, 12), (12, 18, 22))),
    Point((3, 4, 5), include=False),
    Scribble(Region((10, 12, 12), (12, 14, 20)), np.ones((2, 2, 8), bool)),
    Lasso(Region((6, 7, 20), (16, 18, 21)), np.ones((10, 11, 1), bool), include=False),
    Lasso(Region((9, 10, 11), (13, 16, 18)), np.eye(4 * 6, 7, dtype=bool).reshape(4, 6, 7)),  # on an oblique plane
    Point((0, 0, 0)),
]


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_nninteractive(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(folder: Path, device: Device) -> NnInteractive:
    return NnInteractive("nninteractive", folder, device, storage="tensor", autozoom=False)


class Bare:
    """The library as its documentation says, on the processor."""

    def __init__(self, folder: Path, volume: Volume, precision: str = "fp32") -> None:

        self.session: Any = nnInteractiveInferenceSession(
            device=torch.device("cpu"), torch_n_threads=torch.get_num_threads(), do_autozoom=False
        )
        self.session.initialize_from_trained_model_folder(str(folder))
        self.session.network = in_precision(self.session.network, precision, "cpu")  # type: ignore[arg-type]
        self.session.set_image(volume.voxels[None])
        self.mask: NDArray[np.uint8] = np.zeros(volume.geometry.shape, np.uint8)
        self.session.set_target_buffer(self.mask)

    def add(self, prompt: Prompt) -> None:
        if isinstance(prompt, Point):
            self.session.add_point_interaction(prompt.at, prompt.include)
        elif isinstance(prompt, InitialMask):
            self.session.add_initial_seg_interaction(prompt.voxels.astype(np.uint8))
        else:
            bounds = [list(pair) for pair in zip(prompt.region.low, prompt.region.high, strict=True)]
            if isinstance(prompt, Box):
                self.session.add_bbox_interaction(bounds, prompt.include)
            else:
                add = getattr(self.session, f"add_{type(prompt).__name__.lower()}_interaction")
                add(prompt.voxels.astype(np.uint8), prompt.include, interaction_bbox=bounds)


@pytest.mark.parametrize("storage", ["tensor", "blosc2"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_masks_are_equal_to_the_bare_librarys_bit_by_bit(folder: Path, storage: Storage, precision: str) -> None:
    device = Device("cpu", precision=precision)  # type: ignore[arg-type]
    volume = ball_volume()
    session = NnInteractive("nninteractive", folder, device, storage=storage).open(volume, PLAIN)
    bare = Bare(folder, volume, precision)

    for prompt in [*PROMPTS, InitialMask(ball_mask(volume.geometry.shape, (11, 13, 17), 6)), Point((11, 13, 10))]:
        device.run(lambda prompt=prompt: session.add(prompt))  # type: ignore[misc]
        bare.add(prompt)
        np.testing.assert_array_equal(session.mask, bare.mask)
    assert 0 < session.mask.sum() < session.mask.size  # a test on empty masks would say nothing
    device.shutdown()


def test_the_changed_region_is_exactly_where_voxels_changed(model: NnInteractive) -> None:
    session = model.open(ball_volume(), {})
    for prompt in PROMPTS:
        before = session.mask.copy()
        region = session.add(prompt)
        assert region == Region.around(session.mask != before)


def test_undo_goes_back_one_prompt_and_not_further(model: NnInteractive) -> None:
    session = model.open(ball_volume(), {})
    session.add(PROMPTS[0])
    before = session.mask.copy()
    changed = session.add(PROMPTS[1])

    assert session.undo() == changed
    np.testing.assert_array_equal(session.mask, before)
    assert session.undo() is None
    np.testing.assert_array_equal(session.mask, before)


def test_after_undo_the_session_goes_on_as_if_nothing_had_been(model: NnInteractive) -> None:
    volume = ball_volume()
    session, other = model.open(volume, {}), model.open(volume, {})
    session.add(PROMPTS[0])
    session.add(PROMPTS[3])
    session.undo()
    session.add(PROMPTS[2])
    other.add(PROMPTS[0])
    other.add(PROMPTS[2])

    np.testing.assert_array_equal(session.mask, other.mask)


def test_reset_is_a_fresh_start(model: NnInteractive) -> None:
    session = model.open(ball_volume(), {})
    first = session.add(PROMPTS[0])
    expected = session.mask.copy()
    session.add(PROMPTS[3])

    session.reset()
    assert not session.mask.any()
    assert session.undo() is None
    assert session.add(PROMPTS[0]) == first
    np.testing.assert_array_equal(session.mask, expected)


def test_a_noted_prompt_changes_nothing_until_the_next(model: NnInteractive) -> None:
    volume = ball_volume()
    session, plain = model.open(volume, {}), model.open(volume, {})
    assert session.add(PROMPTS[3], predict=False) is None
    assert not session.mask.any()
    session.add(PROMPTS[0])
    plain.add(PROMPTS[0])

    assert (session.mask != plain.mask).any()


def test_an_initial_mask_is_the_mask(model: NnInteractive) -> None:
    volume = ball_volume()
    start = ball_mask(volume.geometry.shape, (11, 13, 17), 5)
    session = model.open(volume, {})
    region = session.add(InitialMask(start))

    np.testing.assert_array_equal(session.mask, start)
    assert region == Region.around(start)
    assert session.undo() == region
    assert not session.mask.any()


def test_a_thick_box_stands_for_its_middle_slice(model: NnInteractive) -> None:
    volume = ball_volume()
    thick, flat = model.open(volume, {}), model.open(volume, {})
    thick.add(Box(Region((5, 8, 12), (16, 18, 22))))
    flat.add(Box(Region((10, 8, 12), (11, 18, 22))))

    np.testing.assert_array_equal(thick.mask, flat.mask)


def test_refused_prompts_leave_no_trace(model: NnInteractive) -> None:
    volume = ball_volume()
    session, clean = model.open(volume, {}), model.open(volume, {})
    empty = np.zeros((1, 2, 2), bool)
    for prompt in (
        Point((24, 0, 0)),
        Point((0, -3, 0)),
        Box(Region((0, 0, 30), (1, 2, 40))),
        Scribble(Region((0, 0, 0), (1, 2, 2)), empty),
        InitialMask(np.zeros((3, 3, 3), bool)),
    ):
        with pytest.raises(BadPrompt):
            session.add(prompt)
    session.add(PROMPTS[0])
    clean.add(PROMPTS[0])

    np.testing.assert_array_equal(session.mask, clean.mask)


def test_sessions_share_the_network_and_do_not_cross(model: NnInteractive, device: Device) -> None:
    volumes = [ball_volume(seed=seed) for seed in range(3)]
    alone = []
    for volume in volumes:
        session = model.open(volume, {})
        for prompt in PROMPTS:
            session.add(prompt)
        alone.append(session.mask.copy())
    together = [model.open(volume, {}) for volume in volumes]

    def click(number: int) -> None:
        for prompt in PROMPTS:
            device.run(lambda: together[number].add(prompt), owner=str(number))  # noqa: B023

    threads = [threading.Thread(target=click, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert together[0]._library.network is together[1]._library.network  # type: ignore[attr-defined]
    for session, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(session.mask, expected)


def test_the_library_prints_nothing_and_leaves_threads_alone(
    model: NnInteractive, capfd: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    session = model.open(ball_volume(), {})
    session.add(PROMPTS[0])
    session.close()

    assert capfd.readouterr().out == ""
    assert torch.get_num_threads() == before


def test_the_network_is_for_inference_only(model: NnInteractive) -> None:
    network = model.open(ball_volume(), {})._library.network  # type: ignore[attr-defined]

    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def voxels_with(value: float) -> NDArray[np.float32]:
    voxels = ball_volume().voxels.astype(np.float32)
    voxels[3, 4, 5] = value
    return voxels


@pytest.mark.parametrize(
    "voxels",
    [
        np.full((20, 20, 20), 3.0, np.float32),
        np.zeros((20, 20, 20), np.int16),
        voxels_with(np.nan),
        voxels_with(np.inf),
        np.pad(np.full((4, 4, 4), 5, np.int16), 8),
        ball_volume().voxels.astype(np.complex64),
    ],
    ids=["constant", "zero", "nan", "infinite", "constant inside zeros", "complex"],
)
def test_volumes_that_cannot_be_normalised_are_refused_at_open(model: NnInteractive, voxels: NDArray[Any]) -> None:
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    with pytest.raises(BadInput):
        model.open(Volume(voxels, Geometry(shape, np.eye(4))), {})


def test_opening_does_not_touch_the_voxels(model: NnInteractive) -> None:
    voxels = ball_volume().voxels.astype(np.float32)
    copy = voxels.copy()
    voxels.setflags(write=False)
    model.open(Volume(voxels, ball_volume().geometry), {}).add(PROMPTS[0])

    np.testing.assert_array_equal(voxels, copy)


def test_new_weights_serve_new_sessions_only(tmp_path: Path, device: Device) -> None:
    old, new = tiny_nninteractive(tmp_path / "old", seed=1), tiny_nninteractive(tmp_path / "new", seed=2)
    model = NnInteractive("nninteractive", old, device, autozoom=False)
    volume = ball_volume()
    held = model.open(volume, {})
    version = model.card.version

    model.use(new)
    held.add(PROMPTS[0])
    later = model.open(volume, {})
    later.add(PROMPTS[0])

    for session, source in ((held, old), (later, new)):
        bare = Bare(source, volume)
        bare.add(PROMPTS[0])
        np.testing.assert_array_equal(session.mask, bare.mask)
    assert model.card.version != version
    assert (held.mask != later.mask).any()


def test_the_card_shows_licence_and_options(model: NnInteractive, folder: Path) -> None:
    assert model.card.licence == "Test licence 1.0"
    assert model.card.kind == "interactive"
    assert model.card.options == {"autozoom": False}
    assert model.accepts == {Point, Box, Scribble, Lasso, InitialMask}
    assert read_folder(folder).patch == (PATCH, PATCH, PATCH)


def test_estimated_memory_covers_the_arrays_a_session_holds(model: NnInteractive) -> None:
    volume = ball_volume()
    library = model.open(volume, {})._library  # type: ignore[attr-defined]
    held = library.preprocessed_image.nbytes + library.interactions.nbytes + 2 * volume.geometry.voxel_count

    assert held <= model.session_bytes(volume) < 1.5 * held


def test_a_checkpoint_with_code_in_it_is_refused_unopened(tmp_path: Path, device: Device) -> None:
    folder = tiny_nninteractive(tmp_path / "model", checkpoint={"extra": Poison(tmp_path / "ran")})
    model = NnInteractive("nninteractive", folder, device)

    with pytest.raises(BadFile, match="more than weights"):
        model.open(ball_volume(), {})
    assert not (tmp_path / "ran").exists()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=True)


def test_what_nnunet_logs_into_its_checkpoints_is_let_through(tmp_path: Path, device: Device) -> None:
    logged = {
        "logging": {"dice": [np.float64(0.3), np.float32(0.4)], "epoch": [np.int64(3)], "done": np.bool_(True)},
        "_best_ema": np.float64(0.35),
        "init_args": {"configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }
    folder = tiny_nninteractive(tmp_path / "model", checkpoint=logged)
    session = NnInteractive("nninteractive", folder, device, autozoom=False).open(ball_volume(), {})

    assert session.add(PROMPTS[0]) is not None


class Poison:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_plans_that_name_another_class_are_refused(tmp_path: Path) -> None:
    folder = tiny_nninteractive(tmp_path / "model")
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["network_class_name"] = "os.system"
    (folder / "plans.json").write_text(json.dumps(plans))

    with pytest.raises(BadFile, match=r"os\.system"):
        read_folder(folder)


@pytest.mark.parametrize("missing", ["plans.json", "inference_info.json", "fold_0/checkpoint_final.pth"])
def test_incomplete_folders_are_refused(tmp_path: Path, missing: str) -> None:
    folder = tiny_nninteractive(tmp_path / "model")
    (folder / missing).unlink()

    with pytest.raises(BadFile):
        read_folder(folder)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, device: Device) -> None:
    folder = tiny_nninteractive(tmp_path / "model", checkpoint={"network_weights": {"x": torch.zeros(1)}})
    with pytest.raises(BadFile, match="can't load"):
        NnInteractive("nninteractive", folder, device).open(ball_volume(), {})


def test_an_official_model_that_is_not_here_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNINTERACTIVE_MODEL_DIR", str(tmp_path))
    with pytest.raises(UnknownModel, match=r"segloop models pull nnInteractive_v1\.0"):
        find_folder("nnInteractive_v1.0")

    tiny_nninteractive(tmp_path / "models" / "nnInteractive_v1.0")
    assert read_folder(find_folder("nnInteractive_v1.0")).licence == "Test licence 1.0"


def test_unknown_folders_are_unknown_models(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel):
        find_folder(str(tmp_path / "nowhere"))


def test_the_library_s_chance_is_the_same_at_every_prompt_and_nobody_else_s_is_touched(
    folder: Path, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    real = nnInteractiveInferenceSession._predict

    def predict(session: Any, force_full_refine: bool = False) -> Any:
        drawn.append(int(np.random.choice(10**9)))
        return real(session, force_full_refine)

    monkeypatch.setattr(nnInteractiveInferenceSession, "_predict", predict)
    session = NnInteractive("x", folder, device, autozoom=False).open(ball_volume(), {})
    np.random.seed(5)
    expected = np.random.choice(10**9, 2)
    np.random.seed(5)
    session.add(Point((11, 13, 17)))
    first = np.random.choice(10**9)
    session.add(Point((12, 13, 17)))
    assert drawn[0] == drawn[1]
    assert [first, np.random.choice(10**9)] == list(expected)
