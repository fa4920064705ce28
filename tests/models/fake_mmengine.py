"""MMEngine models for a worker process, without MMEngine.

A package of its name that runs configurations, which are Python, and builds what a registry holds. Everything else is
real: the worker, torch, the network, its checkpoint.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from app.models.itkit.mmengine import MMEngineFiles

_CONFIG = '''
class Config(dict):
    """As mmengine's: items are attributes too, and a file of Python is run."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name)

    @classmethod
    def fromfile(cls, path):
        values = {}
        exec(open(path).read(), values)
        return cls({k: cls(v) if isinstance(v, dict) else v for k, v in values.items() if not k.startswith("__")})
'''

_REGISTRY = """
import os
import signal
import time

import torch


class Net(torch.nn.Module):
    def __init__(self, num_classes, trouble="", inference_config=None, window_level=None, window_width=None):
        super().__init__()
        print("mmengine prints whatever it likes", flush=True)
        os.write(1, b"and so do its extensions")
        self.num_classes = num_classes
        self.loss = torch.nn.Linear(1, 1)
        self.backbone = Backbone(num_classes, trouble)


class Backbone(torch.nn.Module):
    def __init__(self, num_classes, trouble):
        super().__init__()
        self.conv = torch.nn.Conv3d(1, num_classes, 1)
        self.trouble = trouble

    def forward(self, x):
        assert not self.training and not self.conv.weight.requires_grad
        if self.trouble == "raise":
            raise RuntimeError("no such kernel")
        if self.trouble == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.trouble == "hang":
            time.sleep(600)
        answer = self.conv(x)
        return answer[..., :-1] if self.trouble == "shape" else answer


class _Registry:
    def build(self, config):
        config = dict(config)
        return {"Net": Net}[config.pop("type")](**config)


MODELS = _Registry()
"""


def package(folder: Path) -> Path:
    """Write the package; returns what belongs on PYTHONPATH."""
    (folder / "mmengine").mkdir(parents=True)
    for name, text in {"__init__": "", "config": _CONFIG, "registry": _REGISTRY}.items():
        (folder / "mmengine" / f"{name}.py").write_text(text)
    return folder


def files(folder: Path, at: float = 0.5, top: dict[str, Any] | None = None, **model: Any) -> MMEngineFiles:
    """A configuration and a checkpoint of a network that calls voxels above `at` class 1; `model` goes into its
    `model`, `top` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {"type": "Net", "num_classes": 2, **model}
    lines = [f"model = {described!r}", *(f"{key} = {value!r}" for key, value in (top or {}).items())]
    (folder / "config.py").write_text("\n".join(lines))
    weights = {
        "module.backbone.conv.weight": torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1, 1),
        "module.backbone.conv.bias": torch.tensor([at, -at]),
        "module.auxiliary.weight": torch.zeros(3),
    }
    torch.save({"state_dict": weights, "meta": {"epoch": 3}}, folder / "weights.pth")
    return MMEngineFiles(folder / "config.py", folder / "weights.pth", Path(sys.executable), 120, 120)
