"""An MMEngine model, in a process of its own with the Python environment that the operator named.

MMEngine's configuration files are Python, and run when they are read; so only those that the settings list are, never
a path from a request. What comes back from the process is checked and never unpickled.
"""

from __future__ import annotations

import os
import subprocess
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from app.core.progress import Progress, ignore_progress
from app.errors import BadFile, SegloopError
from app.models.itkit.grey_window import GreyHint, GreyWindow
from app.models.itkit.mmengine_wire import Garbled, Message, receive, send
from app.models.itkit.onnx import check_finite

_START = """
import sys
root = sys.argv[1]
sys.path.append(root)
from app.models.itkit import mmengine_worker
sys.path.remove(root)
mmengine_worker.main()
"""
"""What the other Python runs: it finds this worker behind all of its own packages, and afterwards none of ours."""

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class MMEngineFiles:
    """`config` and `checkpoint` are files, `python` the interpreter of an environment with mmengine and torch.
    Whoever takes longer than the seconds allow is stopped."""

    config: Path
    checkpoint: Path
    python: Path
    load_seconds: float = 120.0
    infer_seconds: float = 600.0


class MMEngineModel:
    """A process with one model in it. Thread-safe: requests wait for each other.

    The process ends when nobody holds the model any more, so that unloading it lets a running request finish, and it
    ends by itself when this server does. Keeps `Engine`.
    """

    on_device = False

    def __init__(self, files: MMEngineFiles, config: Mapping[str, Any], device: str, log: Path) -> None:
        """Start the process and load the model. `config` is an `inference_config` that goes before the model's own,
        `device` is auto, cpu, cuda or cuda:N; what the process prints goes to `log`. Raises `BadFile`."""
        self._files, self._log = files, log
        self._lock = threading.Lock()
        with log.open("wb") as printed:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the operator's settings name it
                    [str(files.python), "-c", _START, str(_ROOT)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=printed,
                    cwd=log.parent,
                    env={name: value for name, value in os.environ.items() if not name.startswith("SEGLOOP_")},
                    start_new_session=True,
                )
            except OSError as error:
                raise BadFile(f"the interpreter {files.python} can't be run: {error.strerror}") from error
        weakref.finalize(self, _end, self._process)
        wanted = {
            "config": str(files.config.absolute()),
            "checkpoint": str(files.checkpoint.absolute()),
            "device": device,
            "inference_config": {key: config[key] for key in ("patch_size", "patch_stride") if config.get(key)},
        }
        try:
            loaded = self._ask(Message("load", wanted), files.load_seconds, ignore_progress).values
            self.classes = int(loaded["classes"])
            self.grey = GreyHint(loaded["level"], loaded["width"])
        except (SegloopError, KeyError, TypeError, ValueError) as error:
            _end(self._process)
            raise BadFile(f"the MMEngine model can't be loaded: {error}") from error

    @property
    def loaded(self) -> bool:
        """Whether the process still lives."""
        return self._process.poll() is None

    def label(
        self,
        image: NDArray[np.generic],
        grey: GreyWindow | None,
        *,
        force_cpu: bool = False,
        progress: Progress = ignore_progress,
    ) -> NDArray[np.uint8]:
        """The likeliest class of every voxel, as `app.models.itkit.onnx.OnnxModel.label`.

        Raises `BadInput` for values that aren't finite, `BadFile` for a model that fails, `SegloopError` when the
        process ended or took too long.
        """
        check_finite(image)
        values = grey.scaled(image) if grey is not None else image.astype(np.float32)
        request = Message("label", {"force_cpu": force_cpu}, [values])
        arrays = self._ask(request, self._files.infer_seconds, progress).arrays
        if len(arrays) != 1 or arrays[0].shape != image.shape or arrays[0].dtype != np.uint8:
            raise BadFile("the MMEngine process answered with other voxels than the image has")
        return arrays[0]

    def _ask(self, request: Message, seconds: float, progress: Progress) -> Message:
        with self._lock:
            if not self.loaded:
                raise SegloopError("the process of this MMEngine model has ended; load the model again")
            late = threading.Event()
            timer = threading.Timer(seconds, _stop, (self._process, late))
            timer.start()
            try:
                answer = self._answer(request, progress)
            except (Garbled, OSError) as error:
                _end(self._process)
                raise SegloopError(self._why_it_ended(f"took over {seconds:g} s" if late.is_set() else "")) from error
            except BaseException:
                # Someone took the request back; the answer that is still to come would be taken for the next one's.
                _end(self._process)
                raise
            finally:
                timer.cancel()
        if answer.says == "failed":
            raise BadFile(str(answer.values.get("text", "the MMEngine model failed")))
        return answer

    def _answer(self, request: Message, progress: Progress) -> Message:
        send(cast(BinaryIO, self._process.stdin), request)
        while (answer := receive(cast(BinaryIO, self._process.stdout))) is not None:
            if answer.says != "progress":
                return answer
            progress(float(answer.values["done"]), "segmenting")
        raise Garbled("the process ended")

    def _why_it_ended(self, reason: str) -> str:
        code = self._process.returncode
        with self._log.open("rb") as printed:
            printed.seek(max(0, self._log.stat().st_size - 2000))
            last = printed.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        ended = reason or (f"ended with signal {-code}" if code < 0 else f"ended with code {code}")
        return f"the process of the MMEngine model {ended}; its log says: {''.join(last) or 'nothing'}"


def _stop(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    process.kill()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, if it hasn't ended, and give its pipes back."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):  # what was left to send
                pipe.close()
