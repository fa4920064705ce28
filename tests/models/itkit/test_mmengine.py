"""MMEngine models: a real worker process with a real torch network, behind a small package called mmengine."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from app.core.progress import ignore_progress
from app.errors import BadFile, BadInput, Cancelled, SegloopError
from app.learning.runner import started
from app.models.itkit.grey_window import GreyHint, GreyWindow
from app.models.itkit.mmengine import MMEngineFiles, MMEngineModel
from app.models.itkit.mmengine_wire import Garbled, Message, receive, send
from tests.models import fake_mmengine


@pytest.fixture(autouse=True)
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(fake_mmengine.package(tmp_path / "site")))


def opened(files: MMEngineFiles, tmp_path: Path, config: dict[str, object] | None = None) -> MMEngineModel:
    return MMEngineModel(files, config or {}, "cpu", tmp_path / "mmengine.log")


def pid(model: MMEngineModel) -> int:
    return model._process.pid


def ended(number: int) -> bool:
    for _ in range(1000):
        if started(number) is None:
            return True
        time.sleep(0.01)
    return False


def test_a_network_in_another_process_labels_by_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SEGLOOP_TOKEN", "secret")
    files = fake_mmengine.files(
        tmp_path / "m", 0.75, {"wl": 0}, window_width=200, inference_config={"patch_size": (8, 9, 10)}
    )
    model = opened(files, tmp_path, {"patch_stride": [4, 4, 4], "fp16": True})
    assert model.loaded
    assert (model.classes, model.grey) == (2, GreyHint(0, 200))
    image = np.random.default_rng(0).integers(-1000, 1000, (5, 21, 13), dtype=np.int16)
    heard: list[float] = []

    labels = model.label(image, GreyWindow(0, 200), progress=lambda done, text="": heard.append(done))
    np.testing.assert_array_equal(labels, image > 50)
    assert labels.dtype == np.uint8
    # One row of windows, four along j, two along i; and the end.
    np.testing.assert_allclose(heard, [*(n / 8 for n in range(8)), 1])
    np.testing.assert_array_equal(model.label(image, None, force_cpu=True), image > 0.75)
    assert "mmengine prints whatever it likes" in (tmp_path / "mmengine.log").read_text()
    assert b"secret" not in Path(f"/proc/{pid(model)}/environ").read_bytes()


def test_without_a_patch_size_the_whole_volume_goes_through_at_once(tmp_path: Path):
    model = opened(fake_mmengine.files(tmp_path / "m"), tmp_path)
    assert model.grey == GreyHint(None, None)
    image = np.random.default_rng(0).uniform(0, 1, (7, 5, 11)).astype(np.float32)
    heard: list[float] = []
    labels = model.label(image, None, progress=lambda done, text="": heard.append(done))
    np.testing.assert_array_equal(labels, image > 0.5)
    assert heard == [0, 1]


def test_the_process_ends_with_the_last_one_who_holds_the_model(tmp_path: Path):
    model = opened(fake_mmengine.files(tmp_path / "m"), tmp_path)
    number = pid(model)
    assert started(number) is not None
    del model
    assert ended(number)


def test_the_process_ends_when_the_server_is_killed(tmp_path: Path):
    """While it computes, too."""
    fake_mmengine.files(tmp_path / "m", trouble="hang")
    code = (
        "import sys, numpy as np, threading\n"
        "from pathlib import Path\n"
        "from app.models.itkit.mmengine import MMEngineFiles, MMEngineModel\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "files = MMEngineFiles(folder / 'm/config.py', folder / 'm/weights.pth', Path(sys.executable))\n"
        "model = MMEngineModel(files, {}, 'cpu', folder / 'log')\n"
        "print(model._process.pid, flush=True)\n"
        "model.label(np.zeros((3, 4, 5), np.float32), None)\n"
    )
    root = str(Path(__file__).parents[2])
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root)
    assert server.stdout is not None
    number = int(server.stdout.readline())
    time.sleep(1)
    assert started(number) is not None
    server.kill()
    server.wait()
    server.stdout.close()
    assert ended(number)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [("raise", "no such kernel"), ("shape", "answers"), ("crash", "ended with signal 11")],
)
def test_what_goes_wrong_in_the_process_is_an_error_of_that_request(tmp_path: Path, trouble: str, told: str):
    model = opened(fake_mmengine.files(tmp_path / "m", trouble=trouble), tmp_path)
    image = np.zeros((3, 4, 5), np.float32)
    with pytest.raises(SegloopError, match=told):
        model.label(image, None)
    assert model.loaded == (trouble != "crash")
    if trouble == "crash":
        with pytest.raises(SegloopError, match="load the model again"):
            model.label(image, None)
    again = opened(fake_mmengine.files(tmp_path / "m"), tmp_path)
    np.testing.assert_array_equal(again.label(image + 1, None), np.ones((3, 4, 5)))


def test_who_takes_too_long_is_stopped(tmp_path: Path):
    files = replace(fake_mmengine.files(tmp_path / "m", trouble="hang"), infer_seconds=0.5)
    model = opened(files, tmp_path)
    number = pid(model)
    with pytest.raises(SegloopError, match=r"took over 0\.5 s"):
        model.label(np.zeros((3, 4, 5), np.float32), None)
    assert not model.loaded
    assert ended(number)
    with pytest.raises(BadFile, match=r"took over 0\.01 s"):
        opened(replace(files, load_seconds=0.01), tmp_path)


def test_a_request_that_is_taken_back_leaves_no_answer_behind(tmp_path: Path):
    model = opened(fake_mmengine.files(tmp_path / "m"), tmp_path)

    def stop(done: float, text: str = "") -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        model.label(np.zeros((3, 4, 5), np.float32), None, progress=stop)
    assert not model.loaded


def test_requests_of_two_people_are_not_mixed(tmp_path: Path):
    model = opened(fake_mmengine.files(tmp_path / "m", inference_config={"patch_size": [4, 4, 4]}), tmp_path)
    images = [np.random.default_rng(n).uniform(0, 1, (6 + n, 9, 8)).astype(np.float32) for n in range(4)]
    found: dict[int, np.ndarray] = {}

    def ask(number: int) -> None:
        found[number] = model.label(images[number], None)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for number, image in enumerate(images):
        np.testing.assert_array_equal(found[number], image > 0.5)


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch evil",)


def test_a_checkpoint_that_is_code_is_not_run(tmp_path: Path):
    files = fake_mmengine.files(tmp_path / "m")
    torch.save({"state_dict": {}, "hook": _Evil()}, files.checkpoint)
    with pytest.raises(BadFile, match="can't be loaded"):
        opened(files, tmp_path)
    assert not (tmp_path / "evil").exists()


def test_models_that_cannot_be_loaded_say_why(tmp_path: Path):
    files = fake_mmengine.files(tmp_path / "m")
    with pytest.raises(BadFile, match="can't be run"):
        opened(replace(files, python=tmp_path / "no-python"), tmp_path)
    with pytest.raises(BadFile, match="FileNotFoundError"):
        opened(replace(files, config=tmp_path / "none.py"), tmp_path)
    torch.save({"backbone.conv.weight": torch.zeros(2, 1, 1, 1, 1)}, files.checkpoint)
    with pytest.raises(BadFile, match=r"no weights for backbone\.conv\.bias"):
        opened(files, tmp_path)
    gaps = fake_mmengine.files(tmp_path / "gaps", inference_config={"patch_size": [4, 4, 4]})
    model = opened(gaps, tmp_path, {"patch_stride": [5, 5, 5]})
    with pytest.raises(BadFile, match="gaps"):
        model.label(np.zeros((9, 9, 9), np.float32), None)
    with pytest.raises(BadInput, match="not finite"):
        model.label(np.full((9, 9, 9), np.inf, np.float32), None)


def test_an_environment_without_mmengine_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTHONPATH")
    with pytest.raises(BadFile, match="mmengine"):
        opened(fake_mmengine.files(tmp_path / "m"), tmp_path)


def test_a_process_stopped_by_a_person_is_an_error(tmp_path: Path):
    model = opened(fake_mmengine.files(tmp_path / "m"), tmp_path)
    os.kill(pid(model), signal.SIGTERM)
    assert model._process.wait(30) == -signal.SIGTERM
    assert not model.loaded
    with pytest.raises(SegloopError, match="load the model again"):
        model.label(np.zeros((3, 4, 5), np.float32), None, progress=ignore_progress)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.text(max_size=9), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=9)),
    st.lists(array_shapes(max_dims=4, max_side=5), max_size=3),
    st.sampled_from([np.float32, np.uint8]),
    st.data(),
)
def test_messages_come_out_as_they_went_in(values, shapes, dtype, data):
    sent = [data.draw(arrays(dtype, shape)) for shape in shapes]
    stream = io.BytesIO()
    send(stream, Message("it", values, sent))
    stream.seek(0)
    got = receive(stream)
    assert got is not None
    assert (got.says, got.values) == ("it", values)
    for one, other in zip(got.arrays, sent, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert receive(stream) is None


@pytest.mark.parametrize(
    "content",
    [
        b"ab",
        b"\xff\xff\xff\xff",
        b"\x02\0\0\0{}",
        b"\x05\0\0\0{}",
        pickle.dumps(_Evil()),
        b"\x30\0\0\0" + b'{"says":"a","values":{},"arrays":[["|O",[1]]]}'.ljust(48),
        b"\x40\0\0\0" + b'{"says":"a","values":{},"arrays":[["<f4",[99999,99999,99]]]}'.ljust(64),
        b"\x40\0\0\0" + b'{"says":"a","values":{},"arrays":[["<f4",[-1,4]]]}'.ljust(64),
        b"\x40\0\0\0" + b'{"says":"a","values":{},"arrays":[["<f4",[4]]]}'.ljust(64) + b"short",
    ],
)
def test_what_is_no_message_is_refused(content: bytes):
    with pytest.raises(Garbled):
        receive(io.BytesIO(content))


def test_other_types_are_not_sent():
    with pytest.raises(ValueError, match="float32 and uint8"):
        send(io.BytesIO(), Message("it", {}, [np.zeros(3)]))
