"""An ONNX file as a segmentation model, run by onnxruntime as ITKIT's server does.

Protocol: docs/protocols/itkit.md, sections 4 and 5.

The file says nearly everything itself: its fixed input size is the window, its output's channels are the classes, and
its metadata may hold `inference_config` (JSON), `window_level` and `window_width` (decimal text).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.core.progress import Progress, ignore_progress
from app.core.volume import Index
from app.errors import BadFile, BadInput, BadOption
from app.models.device import Device
from app.models.itkit.grey_window import GreyHint, GreyWindow
from app.models.itkit.inference_config import InferenceConfig
from app.models.itkit.onnx_file import refuse_other_files
from app.models.itkit.sliding_window import Tiling, label_by_windows

if TYPE_CHECKING:
    import onnxruntime

LARGEST_FILE = 2**31 - 1
"""What one protocol buffer can hold; a larger model has its weights in other files."""

MOST_PATCH_VOXELS = 2**28

_INPUTS: dict[str, type[np.floating]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_OUTPUTS = {*_INPUTS, "tensor(double)"}


@dataclass(frozen=True)
class _Plan:
    """What a file's declarations say. `dtype` is what its first input takes."""

    input: str
    output: str
    dtype: type[np.floating]
    tiling: Tiling


class OnnxModel:
    """One ONNX file in memory. Keeps `Engine`; thread-safe."""

    on_device = True

    def __init__(self, content: bytes, device: Device, config: InferenceConfig, threads: int = 0) -> None:
        """`content` is the file, `config` what a client asked for; it goes before the file's own. `threads` is for the
        processor; 0 is onnxruntime's choice. Raises `BadFile` saying why the file can't be used, `BadOption`."""
        refuse_other_files(content)
        self._device, self._threads = device, threads
        self._lock = threading.Lock()
        self._session = _opened(content, _providers(device), threads)
        self._on_card = self._session.get_providers()[0] != "CPUExecutionProvider"
        # Only a model on a GPU needs the file again, for a second session on the CPU.
        self._content = content if self._on_card else b""
        self._on_processor: onnxruntime.InferenceSession | None = None
        metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self._plan = _planned(self._session, config.over(_own_config(metadata)))
        self.grey = GreyHint(_number(metadata, "window_level"), _number(metadata, "window_width"))

    @property
    def loaded(self) -> bool:
        return True

    @property
    def classes(self) -> int:
        """Background included."""
        return self._plan.tiling.classes

    @property
    def tiling(self) -> Tiling:
        return self._plan.tiling

    def label(
        self,
        image: NDArray[np.generic],
        grey: GreyWindow | None,
        *,
        force_cpu: bool = False,
        progress: Progress = ignore_progress,
    ) -> NDArray[np.uint8]:
        """The likeliest class of every voxel of `image` `(k, j, i)`, which is given to the network as it lies, its
        values scaled by `grey` or else as they are. Lets clicks go first between windows.

        Raises `BadInput` for values that aren't finite, `BadFile` for a network that fails, `ResourceExhausted`.
        """
        check_finite(image)
        session = self._processor_session() if force_cpu else self._session
        plan = self._plan

        def forward(windows: NDArray[np.generic]) -> NDArray[np.floating]:
            values = grey.scaled(windows) if grey is not None else windows.astype(np.float32)
            try:
                answer = session.run([plan.output], {plan.input: values[:, None].astype(plan.dtype, copy=False)})[0]
            except Exception as error:  # onnxruntime's errors have no root of their own
                raise BadFile(f"the ONNX model failed on this image: {_first_line(error)}") from error
            return np.asarray(answer)

        def between(done: float) -> None:
            progress(done, "segmenting")
            self._device.yield_to_prompts()

        return label_by_windows(image, plan.tiling, forward, between)

    def _processor_session(self) -> onnxruntime.InferenceSession:
        """A session that leaves the graphics card alone; made when first asked for, beside the other."""
        if not self._on_card:
            return self._session
        with self._lock:
            if self._on_processor is None:
                self._on_processor = _opened(self._content, ["CPUExecutionProvider"], self._threads)
            return self._on_processor


def open_onnx(path: Path, device: Device, config: InferenceConfig, threads: int = 0) -> OnnxModel:
    """The model in a file; errors as `OnnxModel`. The file is read once, so that what was checked is what is run."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BadFile("an ONNX file is at most 2 GB; larger ones keep weights in other files, which isn't taken")
        content = path.read_bytes()
    except OSError as error:
        raise BadFile(f"the ONNX file can't be read: {error.strerror}") from error
    return OnnxModel(content, device, config, threads)


def check_finite(image: NDArray[np.generic]) -> None:
    """Raises `BadInput` for NaN and infinite values."""
    if image.dtype.kind == "f" and not (np.isfinite(image.min()) and np.isfinite(image.max())):
        raise BadInput("the image has voxels that are not finite (NaN or infinite); repair it and send it again")


def _providers(device: Device) -> list[Any]:
    """CUDA where this server computes on a card and onnxruntime was built for it; the processor as a fallback."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    name = device.torch_name
    card = [("CUDAExecutionProvider", {"device_id": int(name[5:])})] if name.startswith("cuda:") else []
    return [*card, "CPUExecutionProvider"]


def _opened(content: bytes, providers: list[Any], threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    # Else its format is guessed, and one that the check before doesn't know would pass.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Waiting threads would keep whole cores busy between windows, while clicks run.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=providers)
    except Exception as error:  # its errors have no root of their own
        raise BadFile(f"onnxruntime can't open the file: {_first_line(error)}") from error


def _planned(session: onnxruntime.InferenceSession, config: InferenceConfig) -> _Plan:
    """Check the declared shapes. Raises `BadFile`, `BadOption`."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if not outputs:
        raise BadFile("the ONNX model has no output; one is needed, the classes' scores")
    output = outputs[0]
    if len(inputs) != 1:
        raise BadFile(f"the ONNX model takes {len(inputs)} inputs; one is needed, the image")
    taken = inputs[0]
    if taken.type not in _INPUTS or output.type not in _OUTPUTS:
        raise BadFile(f"the ONNX model goes from {taken.type} to {output.type}; both have to be real numbers")
    if len(taken.shape) != 5 or len(output.shape) != 5:
        raise BadFile(f"the ONNX model goes from {taken.shape} to {output.shape}; both have to be (N, C, Z, Y, X)")
    batch, channels, *space = taken.shape
    if not all(isinstance(n, int) and n > 0 for n in space):
        raise BadFile(f"the ONNX model's axes {space} are dynamic; export it with the window's size fixed")
    if prod(space) > MOST_PATCH_VOXELS:
        raise BadFile(f"the ONNX model's windows of {space} voxels are larger than this server takes")
    if channels != 1:
        raise BadFile(f"the ONNX model takes {channels} channels; an image has one")
    classes, *answered = output.shape[1:]
    if not isinstance(classes, int) or not 2 <= classes <= 256:
        raise BadFile(f"the ONNX model answers {classes} channels; it takes a fixed number of classes from 2 to 256")
    if any(isinstance(n, int) and n != m for n, m in zip(answered, space, strict=True)):
        raise BadFile(f"the ONNX model answers {answered} voxels for a window of {space}")
    patch: Index = space[0], space[1], space[2]
    tiling = Tiling(patch, config.stride_for(patch), classes, batch if isinstance(batch, int) and batch > 0 else 1)
    return _Plan(taken.name, output.name, _INPUTS[taken.type], tiling)


def _own_config(metadata: Mapping[str, str]) -> InferenceConfig:
    text = metadata.get("inference_config", "")
    try:
        values = json.loads(text) if text else {}
        return InferenceConfig.read(values if isinstance(values, dict) else {})
    except (ValueError, RecursionError, BadOption):
        # The peer too goes on without what it can't read.
        return InferenceConfig()


def _number(metadata: Mapping[str, str], key: str) -> float | None:
    """A number that is kept as text; what is none counts as missing, and a form can still say it."""
    try:
        return float(metadata[key])
    except (KeyError, ValueError):
        return None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
