"""nnInteractive's own client, unmodified, against segloop on a real socket; the library in this process and the
official server say what has to come out, voxel for voxel.

The network is tiny and random: it sees structures in noise, so that a prompt in a wrong place shows at once.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
from nnInteractive.inference.remote import (
    ServerAtCapacityError,
    SessionExpiredError,
    nnInteractiveRemoteInferenceSession,
)

from app.settings import ModelSettings
from tests.clients.nninteractive_script import SHAPE, STEPS, image, walk
from tests.live import Live, serving
from tests.models.folders import tiny_nninteractive
from tests.orthanc import free_port


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return tiny_nninteractive(tmp_path_factory.mktemp("model") / "tiny", seed=1, patch=80, background=4.0)


@pytest.fixture(scope="module", autouse=True)
def _as_the_library_computes() -> Iterator[None]:
    """In float32, as the bare library does on a processor; segloop may use less where that is faster. And without
    chance: the library draws some of the patches that it refines."""
    patch = pytest.MonkeyPatch()
    patch.setattr("app.models.device.choose", lambda choice, device: "fp32")
    patch.setattr("nnInteractive.utils.bboxes.np.random.choice", lambda count: 0)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def live(weights, tmp_path_factory) -> Iterator[Live]:
    models = {"nninteractive": ModelSettings(type="nninteractive", source=str(weights))}
    with serving(tmp_path_factory.mktemp("live") / "workspace", models) as one:
        yield one


@pytest.fixture(scope="module")
def official(weights, tmp_path_factory) -> Iterator[str]:
    with official_server(weights, tmp_path_factory.mktemp("official") / "log") as url:
        yield url


@contextmanager
def official_server(weights: Path, log: Path, *options: str) -> Iterator[str]:
    """`nninteractive-server` in a process of its own."""
    port = free_port()
    code = (
        "import sys; from nnInteractive.inference.server.main import main; import nnInteractive.utils.bboxes as bboxes;"
        "bboxes.np.random.choice = lambda count: 0; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "--model-dir", str(weights), "--fold", "0", "--device", "cpu"]
    command += ["--no-torch-compile", "--port", str(port), "--log-level", "warning", *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not _answers(url):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the official server doesn't start"
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def remote(url: str, **more: Any) -> Iterator[nnInteractiveRemoteInferenceSession]:
    session = nnInteractiveRemoteInferenceSession(url, **more)
    try:
        yield session
    finally:
        session.close()


def library(weights: Path) -> nnInteractiveInferenceSession:
    session = nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=torch.get_num_threads())
    session.initialize_from_trained_model_folder(str(weights))
    return session


def test_every_method_does_what_the_library_does(live: Live, weights: Path):
    ours, own = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    with remote(live.url) as session:
        for got, wanted in zip(
            walk(session, ours, image(), STEPS), walk(library(weights), own, image(), STEPS), strict=True
        ):
            assert got[:2] == wanted[:2]
            np.testing.assert_array_equal(got[2], wanted[2], err_msg=got[0])
    assert own.any()


def test_the_official_server_comes_to_the_same_masks(live: Live, official: str):
    ours, theirs = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    with remote(live.url) as session, remote(official) as peer:
        for got, wanted in zip(walk(session, ours, image(1), STEPS), walk(peer, theirs, image(1), STEPS), strict=True):
            assert got[:2] == wanted[:2]
            np.testing.assert_array_equal(got[2], wanted[2], err_msg=got[0])
    assert theirs.any()


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint8, np.float64, np.float16])
def test_an_image_of_another_type_is_normalised_as_the_library_does(live: Live, weights: Path, dtype):
    voxels = image(2).clip(0, 1000).astype(dtype)
    ours, own = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    with remote(live.url) as session:
        *_, got = walk(session, ours, voxels, STEPS[:1])
        *_, wanted = walk(library(weights), own, voxels.astype(np.float32), STEPS[:1])
    np.testing.assert_array_equal(got[2], wanted[2])
    assert own.any()


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "torch"])
def test_buffers_of_other_types(live: Live, weights: Path, dtype: str):
    ours = torch.zeros(SHAPE, dtype=torch.int16) if dtype == "torch" else np.zeros(SHAPE, dtype)
    own = np.zeros(SHAPE, np.uint8)
    with remote(live.url) as session:
        for got, wanted in zip(
            walk(session, ours, image(), STEPS[:6]), walk(library(weights), own, image(), STEPS[:6]), strict=True
        ):
            np.testing.assert_array_equal(got[2].astype(np.uint8), wanted[2])


def test_capabilities_are_those_of_the_official_server(live: Live, official: str):
    with remote(live.url) as session, remote(official) as peer:
        for name in (
            "supported_interactions",
            "channel_mapping",
            "num_interaction_channels",
            "supports_initial_label",
            "supports_zero_shot_label_refinement",
            "preferred_scribble_thickness",
            "interaction_decay",
            "INFERENCE_SESSION_VERSION",
            "license",
            "supports_undo",
            "do_autozoom",
        ):
            assert getattr(session, name) == getattr(peer, name), name
        assert session._get_json("/capabilities").keys() == peer._get_json("/capabilities").keys()


def test_the_lease(live: Live):
    with remote(live.url) as session:
        assert session.ping()
        assert session.liveness_timeout_seconds == live.services.settings.sessions.liveness_seconds
        assert 3500 < session.heartbeat() <= session.idle_timeout_seconds == 3600
        assert session.lease_status().keys() == {"remaining_seconds", "idle_timeout_seconds"}
        httpx.post(f"{live.url}/release", headers={"X-Lease-Token": session._lease_token})
        with pytest.raises(SessionExpiredError, match="connect again"):
            session.set_image(image())
        with pytest.raises(SessionExpiredError):
            session.heartbeat()


def test_a_second_image_on_the_same_lease(live: Live, weights: Path):
    with remote(live.url) as session:
        for seed, shape in ((3, SHAPE), (4, (7, 23, 18))):
            voxels = image(seed)[:, : shape[0], : shape[1], : shape[2]]
            ours, own = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
            bare = library(weights)
            for one, buffer in ((session, ours), (bare, own)):
                one.set_do_autozoom(False)
                one.set_image(voxels)
                one.set_target_buffer(buffer)
                one.add_point_interaction((5, 11, 9), True)
            np.testing.assert_array_equal(ours, own)
            assert session.original_image_shape == (1, *shape)


def test_what_a_click_may_not_do_is_said_in_words(live: Live):
    with remote(live.url) as session:
        with pytest.raises(httpx.HTTPStatusError, match="409") as early:
            session.add_point_interaction((1, 1, 1), True)
        assert "no image" in early.value.response.json()["detail"]
        session.set_do_autozoom(False)
        session.set_image(image())
        session.set_target_buffer(np.zeros(SHAPE, np.uint8))
        with pytest.raises(httpx.HTTPStatusError, match="400") as outside:
            session.add_point_interaction((400, 1, 1), True)
        assert "outside the volume" in outside.value.response.json()["detail"]
        with pytest.raises(httpx.HTTPStatusError, match="400") as thick:
            session.add_bbox_interaction([[2, 9], [2, 9], [2, 9]], True)
        assert "thicker than a slice" in thick.value.response.json()["detail"]
        assert session.add_point_interaction((8, 20, 13), True) is not None


def test_a_full_house(weights: Path, tmp_path: Path):
    models = {"nninteractive": ModelSettings(type="nninteractive", source=str(weights))}
    with serving(tmp_path / "workspace", models, sessions={"max_leases": 1}) as small:
        with remote(small.url), pytest.raises(ServerAtCapacityError, match="all 1 sessions"):
            nnInteractiveRemoteInferenceSession(small.url)
        with remote(small.url) as next_one:
            assert next_one.ping()


def test_a_key(weights: Path, tmp_path: Path):
    models = {"nninteractive": ModelSettings(type="nninteractive", source=str(weights))}
    with serving(tmp_path / "workspace", models, token="k3y") as closed:
        assert httpx.get(f"{closed.url}/healthz").json() == {"ok": True}
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            nnInteractiveRemoteInferenceSession(closed.url)
        with remote(closed.url, api_key="k3y") as session:
            assert session.ping()
