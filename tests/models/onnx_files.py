"""ONNX models whose answers anyone can work out, made by the onnx package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PATCH = (16, 12, 20)


def threshold(
    at: float = 0.5,
    patch: Sequence[int | str] = PATCH,
    *,
    channels: int | str = 1,
    batch: int | str = 1,
    half: bool = False,
    config: dict[str, object] | str | None = None,
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """Class 1 where a voxel is above `at`, else 0: one convolution of a single voxel."""
    weights = np.array([-1, 1], np.float32).reshape(2, 1, 1, 1, 1)
    if isinstance(channels, int):
        weights = np.repeat(weights, channels, axis=1)
    return network(weights, np.array([at, -at], np.float32), patch, channels, batch, half, config, metadata)


def blurry(classes: int = 5, patch: Sequence[int] = PATCH, seed: int = 0, **more: object) -> onnx.ModelProto:
    """Random 3x3x3 convolutions, padded with zeros: what a voxel gets depends on where in the window it lies."""
    draw = np.random.default_rng(seed)
    weights = draw.normal(0, 1, (classes, 1, 3, 3, 3)).astype(np.float32)
    return network(weights, draw.normal(0, 0.3, classes).astype(np.float32), patch, **more)  # type: ignore[arg-type]


def network(
    weights: np.ndarray,
    bias: np.ndarray,
    patch: Sequence[int | str],
    channels: int | str = 1,
    batch: int | str = 1,
    half: bool = False,
    config: dict[str, object] | str | None = None,
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """One convolution of odd size."""
    dtype, number = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    pads = [size // 2 for size in weights.shape[2:]] * 2
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights", "bias"], ["logits"], pads=pads)],
        "graph",
        [helper.make_tensor_value_info("image", number, [batch, channels, *patch])],
        [helper.make_tensor_value_info("logits", number, [batch, len(weights), *patch])],
        [
            numpy_helper.from_array(weights.astype(dtype), "weights"),
            numpy_helper.from_array(bias.astype(dtype), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    text = json.dumps(config) if isinstance(config, dict) else config
    helper.set_model_props(model, {**({"inference_config": text} if text else {}), **(metadata or {})})
    return model


def saved(model: onnx.ModelProto, file: Path) -> Path:
    file.write_bytes(model.SerializeToString())
    return file
