"""ONNX models: the peer's sliding window, and everything that is refused."""

from __future__ import annotations

import threading
import time
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from app.core.progress import ignore_progress
from app.errors import BadFile, BadInput, BadOption, Cancelled
from app.models.device import Device, Priority
from app.models.itkit.grey_window import GreyHint, GreyWindow
from app.models.itkit.inference_config import InferenceConfig
from app.models.itkit.onnx import OnnxModel, open_onnx
from tests.models.onnx_files import PATCH, blurry, saved, threshold

CPU = Device("cpu", threads=1, precision="fp32")


def opened(model: onnx.ModelProto, config: InferenceConfig | None = None, device: Device = CPU) -> OnnxModel:
    return OnnxModel(model.SerializeToString(), device, config or InferenceConfig(), threads=1)


def noise(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


def by_hand(image: np.ndarray, model: onnx.ModelProto, patch: tuple[int, ...], stride: tuple[int, ...]) -> np.ndarray:
    """The algorithm of docs/protocols/itkit.md, section 4, as slowly as it reads, with torch's convolution:
    logits of all windows are summed over the whole volume in float16, divided by the hits, and cropped."""
    weights, bias = (torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in model.graph.initializer)
    pads = [(max(0, p - n) // 2, max(0, p - n) - max(0, p - n) // 2) for n, p in zip(image.shape, patch, strict=True)]
    padded = np.pad(image, pads, mode="edge")
    total = np.zeros((len(weights), *padded.shape), np.float16)
    hits = np.zeros(padded.shape, np.int64)
    corners = []
    for n, p, s in zip(padded.shape, patch, stride, strict=True):
        axis = [*range(0, n - p, s), n - p]
        corners.append(axis)
    for k, j, i in product(*corners):
        place = (slice(k, k + patch[0]), slice(j, j + patch[1]), slice(i, i + patch[2]))
        window = torch.from_numpy(padded[place].copy())[None, None]
        logits = torch.nn.functional.conv3d(window, weights, bias, padding=weights.shape[-1] // 2)[0].numpy()
        total[(slice(None), *place)] += logits.astype(np.float16)
        hits[place] += 1
    mean = (total / hits).astype(np.float16)
    inner = tuple(slice(a, a + n) for (a, _), n in zip(pads, image.shape, strict=True))
    return mean[(slice(None), *inner)]


def assert_same_but_for_ties(labels: np.ndarray, logits: np.ndarray) -> None:
    """Each label's logit is the largest, or within two steps of float16 of it: two convolutions round differently."""
    chosen = np.take_along_axis(logits.astype(np.float32), labels[None].astype(np.int64), 0)[0]
    best = logits.max(axis=0).astype(np.float32)
    assert ((best - chosen) <= 2 * np.spacing(np.abs(best).astype(np.float16)).astype(np.float32)).all()
    assert (labels == logits.argmax(axis=0)).mean() > 0.99


@pytest.mark.parametrize(
    ("shape", "stride"),
    [
        ((16, 12, 20), None),  # one window
        ((33, 31, 29), None),  # the last ones shifted back
        ((7, 12, 50), None),  # smaller than a window along one axis
        ((3, 2, 5), None),  # along all of them
        ((40, 30, 21), (5, 12, 7)),
        ((17, 13, 23), (16, 12, 20)),  # no overlap but for the border
        ((20, 14, 22), (1, 1, 1)),  # every voxel in up to 45 windows
    ],
)
def test_labels_are_those_of_the_protocols_algorithm(shape: tuple[int, int, int], stride: tuple[int, int, int] | None):
    model, image = blurry(), noise(shape)
    labels = opened(model, InferenceConfig(stride=stride)).label(image, None)
    assert labels.dtype == np.uint8
    assert labels.shape == shape
    assert_same_but_for_ties(labels, by_hand(image, model, PATCH, stride or (8, 6, 10)))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 11)] * 3),
    patch=st.tuples(*[st.integers(2, 6)] * 3),
    step=st.tuples(*[st.floats(0.3, 1)] * 3),
    batch=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_any_size_and_stride(shape, patch, step, batch, seed):
    stride = tuple(max(1, int(p * f)) for p, f in zip(patch, step, strict=True))
    model, image = blurry(3, patch, seed, batch=batch), noise(shape, seed)
    labels = opened(model, InferenceConfig(stride=stride)).label(image, None)  # type: ignore[arg-type]
    logits = by_hand(image, model, patch, stride)
    chosen = np.take_along_axis(logits.astype(np.float32), labels[None].astype(np.int64), 0)[0]
    assert (logits.max(axis=0) - chosen).max() <= 0.02


def test_more_than_255_windows_on_one_voxel():
    """ITKIT counts hits in a byte."""
    model = threshold(patch=(8, 8, 8))
    image = noise((16, 16, 16))
    labels = opened(model, InferenceConfig(stride=(1, 1, 1))).label(image, None)
    np.testing.assert_array_equal(labels[4:12, 4:12, 4:12], image[4:12, 4:12, 4:12] > 0.5)
    assert (labels == (image > 0.5)).mean() > 0.999


def test_windows_are_scaled_as_the_window_says():
    image = np.random.default_rng(0).integers(-1000, 1000, (20, 18, 25), dtype=np.int16)
    labels = opened(threshold(0.75)).label(image, GreyWindow(0, 200))  # level 0 is a level
    np.testing.assert_array_equal(labels, image > 50)
    scaled = GreyWindow(40, 400).scaled(np.array([-1000, -160, 40, 240, 3000], np.int16))
    np.testing.assert_array_equal(scaled, np.array([0, 0, 0.5, 1, 1], np.float32))
    with pytest.raises(BadOption, match="width above 0"):
        GreyWindow(40, 0)
    with pytest.raises(BadOption):
        GreyWindow(float("nan"), 100)


def test_half_precision_models_get_half_precision():
    image = noise((20, 18, 25)).astype(np.float16).astype(np.float32)
    labels = opened(threshold(half=True)).label(image, None)
    np.testing.assert_array_equal(labels, image > 0.5)


def test_metadata_says_stride_and_window_and_a_request_goes_first():
    model = opened(
        threshold(config={"patch_size": [99, 99, 99], "patch_stride": [4, 4, 4]}, metadata={"window_level": "0"})
    )
    assert (model.tiling.patch, model.tiling.stride) == (PATCH, (4, 4, 4))
    assert model.grey == GreyHint(0.0, None)
    asked = opened(threshold(config={"patch_stride": [4, 4, 4]}), InferenceConfig(stride=(6, 6, 6)))
    assert asked.tiling.stride == (6, 6, 6)
    text = opened(threshold(metadata={"window_level": " 40.5 ", "window_width": "wide"}))
    assert text.grey == GreyHint(40.5, None)
    broken = opened(threshold(config="{not json"))
    assert broken.tiling.stride == (8, 6, 10)


def with_external_data(place: str) -> onnx.ModelProto:
    model = threshold()
    tensor = TensorProto()
    tensor.CopyFrom(model.graph.initializer[0])
    tensor.name = "elsewhere"
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    if place == "initializer":
        model.graph.initializer.append(tensor)
    elif place == "constant":
        model.graph.node.append(helper.make_node("Constant", [], ["elsewhere"], value=tensor))
    elif place == "subgraph":
        inner = helper.make_graph([], "inner", [], [], [tensor])
        model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))
    elif place == "function":
        node = helper.make_node("Constant", [], ["z"], value=tensor)
        model.functions.append(helper.make_function("own", "f", [], ["z"], [node], [helper.make_opsetid("", 17)]))
    elif place == "sparse":
        model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return model


@pytest.mark.parametrize("place", ["initializer", "constant", "subgraph", "function", "sparse"])
def test_weights_in_other_files_are_refused_before_anything_is_opened(place: str):
    with pytest.raises(BadFile, match="other files"):
        opened(with_external_data(place))


def two_inputs() -> onnx.ModelProto:
    model = threshold()
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    model.graph.node.append(helper.make_node("Identity", ["more"], ["unused"]))
    return model


def flat() -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["a"], ["b"])],
        "flat",
        [value("a", TensorProto.FLOAT, [1, 1, 8, 8])],
        [value("b", TensorProto.FLOAT, [1, 1, 8, 8])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def integers() -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    node = helper.make_node("Cast", ["a"], ["b"], to=TensorProto.INT32)
    shape = [1, 1, 8, 8, 8]
    graph = helper.make_graph(
        [node], "g", [value("a", TensorProto.FLOAT, shape)], [value("b", TensorProto.INT32, shape)]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def one_class() -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    shape = [1, 1, 8, 8, 8]
    node = helper.make_node("Relu", ["a"], ["b"])
    graph = helper.make_graph(
        [node], "g", [value("a", TensorProto.FLOAT, shape)], [value("b", TensorProto.FLOAT, shape)]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (threshold(patch=("Z", 12, 20)), "dynamic"),
        (threshold(patch=("Z", "Y", "X")), "dynamic"),
        (threshold(channels=3), "3 channels"),
        (two_inputs(), "2 inputs"),
        (flat(), r"\(N, C, Z, Y, X\)"),
        (integers(), "real numbers"),
        (one_class(), "classes from 2 to 256"),
        (blurry(300, (2, 2, 2)), "classes from 2 to 256"),
        (threshold(patch=(2048, 2048, 2048)), "larger than this server takes"),
    ],
)
def test_models_of_the_wrong_shape_are_refused_with_the_reason(model: onnx.ModelProto, reason: str):
    with pytest.raises(BadFile, match=reason):
        opened(model)


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"\x00" * 100, b"\x3a\xff\xff\xff\x0f", b"\x08" * 9])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(BadFile):
        open_onnx(tmp_path / "a.onnx", CPU, InferenceConfig())


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 10**6), at=st.integers(0, 10**6), byte=st.integers(0, 255))
@example(cut=0, at=374, byte=225)  # a model without outputs
def test_damaged_files_are_refused_or_still_work(cut: int, at: int, byte: int):
    content = bytearray(threshold().SerializeToString())
    content = content[: len(content) - cut % 7]
    content[at % len(content)] = byte
    try:
        model = OnnxModel(bytes(content), CPU, InferenceConfig(), threads=1)
        labels = model.label(noise(PATCH), None)
    except (BadFile, BadOption):
        return
    assert labels.shape == PATCH


def test_a_missing_file_and_a_bad_stride_are_refused(tmp_path: Path):
    with pytest.raises(BadFile, match="can't be read"):
        open_onnx(tmp_path / "none.onnx", CPU, InferenceConfig())
    with pytest.raises(BadOption, match="gaps"):
        open_onnx(saved(threshold(), tmp_path / "a.onnx"), CPU, InferenceConfig(stride=(17, 4, 4)))
    for sizes in ([1, 2], [1, 2, "3"], [0, 1, 1], [1.5, 2, 2], "8,8,8", [True, 1, 1], [1, 1, 10**9]):
        with pytest.raises(BadOption, match="patch_stride"):
            InferenceConfig.read({"patch_stride": sizes})


def test_values_that_are_no_numbers_are_refused():
    image = noise((16, 12, 20))
    image[3, 4, 5] = np.nan
    with pytest.raises(BadInput, match="not finite"):
        opened(threshold()).label(image, None)


def test_a_click_goes_first_between_windows_and_work_can_be_stopped():
    device = Device("cpu", threads=1, precision="fp32")
    model = opened(threshold(), device=device)
    image = noise((64, 24, 40))
    steps: list[str] = []
    started, clicked = threading.Event(), threading.Event()

    def progress(done: float, text: str = "") -> None:
        steps.append("window")
        if not started.is_set():
            started.set()
            assert clicked.wait(60)

    result: list[np.ndarray] = []

    def segment() -> None:
        result.append(device.run(lambda: model.label(image, None, progress=progress), Priority.AUTOMATIC, "a"))

    work = threading.Thread(target=segment)
    work.start()
    assert started.wait(60)
    click = threading.Thread(target=lambda: device.run(lambda: steps.append("click")))
    click.start()
    while device.waiting == 0:
        time.sleep(0.002)
    clicked.set()
    work.join(60)
    click.join(60)
    assert 0 < steps.index("click") < len(steps) - 3
    np.testing.assert_array_equal(result[0], image > 0.5)

    def stop(done: float, text: str = "") -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        model.label(image, None, progress=stop)
    np.testing.assert_array_equal(model.label(image, None, force_cpu=True, progress=ignore_progress), image > 0.5)
    device.shutdown()
