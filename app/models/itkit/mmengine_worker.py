"""The process that runs one MMEngine model, in the environment that the operator named for it.

`app.models.itkit.mmengine` starts it with another Python, in which segloop isn't installed. So this module and what it
imports need numpy, torch and mmengine, and no Python newer than 3.10. The main thread computes; another one listens,
and ends the process the moment that the server is gone.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Index
from app.models.itkit.inference_config import InferenceConfig
from app.models.itkit.mmengine_wire import Garbled, Message, receive, send
from app.models.itkit.sliding_window import Tiling, label_by_windows


def main() -> None:
    """Serve until the standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    # What libraries print must not get between the messages.
    os.dup2(2, 1)
    requests: queue.Queue[Message] = queue.Queue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    network: Network | None = None
    while True:
        request = requests.get()
        try:
            if request.says == "load":
                network = Network.load(request.values)
                answer = Message("loaded", network.description())
            elif network is None:
                answer = Message("failed", {"text": "no model is loaded"})
            else:
                answer = Message("labelled", {}, [network.label(request, answers)])
        except Exception as error:
            answer = Message("failed", {"text": f"{type(error).__name__}: {error}"[:2000]})
        send(answers, answer)


def _listen(stream: BinaryIO, requests: queue.Queue[Message]) -> None:
    try:
        while (request := receive(stream)) is not None:
            requests.put(request)
    except (Garbled, OSError):
        pass
    os._exit(0)  # ends the computation too: its result has no reader any more


@dataclass(frozen=True)
class Network:
    """`model` is a torch module with `backbone` and `num_classes`; `window` what its configuration says of grey
    levels, `(level, width)`."""

    model: Any
    device: str
    classes: int
    config: InferenceConfig
    window: tuple[float | None, float | None]

    @classmethod
    def load(cls, values: Mapping[str, Any]) -> Network:
        """Build the model of a configuration file, which is Python and runs, and give it a checkpoint's weights."""
        import torch
        from mmengine.config import Config
        from mmengine.registry import MODELS

        described = Config.fromfile(values["config"])
        model = MODELS.build(described.model)
        _fill(model, torch.load(values["checkpoint"], map_location="cpu", weights_only=True))
        device = _device(str(values["device"]))
        model.eval().requires_grad_(False).to(device)
        own = described.model.get("inference_config") or {}
        asked = InferenceConfig.read(values["inference_config"])
        config = asked.over(InferenceConfig.read(dict(own) if isinstance(own, Mapping) else vars(own)))
        return cls(model, device, int(model.num_classes), config, _window(described))

    def description(self) -> dict[str, Any]:
        return {"classes": self.classes, "level": self.window[0], "width": self.window[1]}

    def label(self, request: Message, answers: BinaryIO) -> NDArray[np.uint8]:
        """The classes of an image, uint8 `(k, j, i)`; tells how far it is before each window."""
        import torch

        image = request.arrays[0]
        device = "cpu" if request.values["force_cpu"] else self.device

        def forward(windows: NDArray[np.generic]) -> NDArray[np.floating]:
            batch = torch.from_numpy(np.ascontiguousarray(windows[:, None])).to(device)
            with torch.inference_mode(), torch.autocast("cuda", enabled=device != "cpu"):
                return np.asarray(self.model.backbone(batch).float().cpu().numpy())

        def between(done: float) -> None:
            send(answers, Message("progress", {"done": done}))

        # For this request only: the next one finds the model where it was.
        self.model.to(device)
        try:
            return label_by_windows(image, self._tiling(image.shape), forward, between)
        finally:
            self.model.to(self.device)

    def _tiling(self, shape: tuple[int, ...]) -> Tiling:
        """Without a patch size, one window is the whole image (docs/protocols/itkit.md, section 4)."""
        whole: Index = (shape[0], shape[1], shape[2])
        if self.config.patch is None:
            return Tiling(whole, whole, self.classes)
        return Tiling(self.config.patch, self.config.stride_for(self.config.patch), self.classes)


def _fill(model: Any, checkpoint: Any) -> None:
    """Load a state dict, or a checkpoint that holds one. What the backbone needs must be there; weights of losses and
    the like may be missing or too many."""
    weights = checkpoint.get("state_dict", checkpoint)
    weights = {name.removeprefix("module."): value for name, value in weights.items()}
    missing = model.load_state_dict(weights, strict=False).missing_keys
    needed = [name for name in missing if name.startswith("backbone.")]
    if needed:
        raise ValueError(f"the checkpoint has no weights for {', '.join(needed[:5])}")


def _window(config: Any) -> tuple[float | None, float | None]:
    return _first(config, ("wl", "window_level")), _first(config, ("ww", "window_width"))


def _first(config: Any, keys: tuple[str, str]) -> float | None:
    """From the top of the configuration, else from its model."""
    for place in (config, config.model):
        for key in keys:
            if place.get(key) is not None:
                return float(place.get(key))
    return None


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
