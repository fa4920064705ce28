"""What the contract tests build each model type from.

Every type of the registry is asked, found by its declaration alone. One that needs more than its name has a `sample` in
its declaration or a row here, and may have several. Prompts are chosen by what a model accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.core.model import AnyModel, InteractiveModel, InteractiveSession, ModelKind, Option
from app.core.prompt import Point, Prompt, Region, Scribble
from app.models.device import Device
from app.models.nninteractive.model import NnInteractive
from app.models.registry import MODEL_TYPES, ModelOptions, ModelType
from tests.models.folders import bundle, tiny_nninteractive, tiny_version
from tests.models.volumes import ball_volume

SHAPE = (24, 28, 32)
CENTRE = (11, 13, 17)
POINTS: list[Prompt] = [
    Point((11, 13, 17)),
    Point((8, 10, 14)),
    Point((20, 22, 26), include=False),
    Point((14, 17, 20)),
]
STROKES: list[Prompt] = [
    Scribble(Region((11, 13, 14), (12, 14, 21)), np.ones((1, 1, 7), bool)),
    Scribble(Region((11, 2, 4), (12, 3, 28)), np.ones((1, 1, 24), bool), include=False),
    Scribble(Region((9, 4, 4), (10, 6, 6)), np.ones((1, 2, 2), bool)),
    Scribble(Region((11, 13, 17), (12, 15, 18)), np.ones((1, 2, 1), bool), include=False),
]


@dataclass(frozen=True)
class Asked:
    """An interactive model, the options its sessions open with, and prompts that make it change its mask more than
    once."""

    model: InteractiveModel
    options: Mapping[str, Option]
    prompts: list[Prompt]

    def open(self, seed: int = 0) -> InteractiveSession:
        return self.model.open(ball_volume(SHAPE, CENTRE, 7, seed), self.options)


@dataclass(frozen=True)
class Sample:
    """One model to ask. `make` builds it, with an empty folder to write into. `slow`: asked with two prompts, and not
    the long questions."""

    name: str
    type: ModelType
    make: Callable[[Path, Device], Any]
    options: Mapping[str, Option] = field(default_factory=dict)
    slow: bool = False

    def asked(self, folder: Path, device: Device) -> Asked:
        model = self.make(folder, device)
        prompts = [prompt for prompt in [*POINTS, *STROKES] if type(prompt) in model.accepts]
        return Asked(model, self.options, prompts[::2][:2] if self.slow else prompts)


Row = Callable[[ModelType], Sample]


def samples(*kinds: ModelKind) -> list[Any]:
    """Of every type of these kinds, as parameters of a test."""
    types = [type_ for type_ in MODEL_TYPES.find().found.values() if type_.kind in kinds]
    made = [row(type_) for type_ in types for row in ROWS.get(type_.name, [_plain])]
    return [pytest.param(sample, id=sample.name) for sample in made]


def _plain(type_: ModelType) -> Sample:
    def make(folder: Path, device: Device) -> AnyModel:
        options = type_.sample(folder) if type_.sample is not None else ModelOptions()
        return type_.build("asked", options, device)

    return Sample(type_.name, type_, make)


def _version(suffix: str = "", **values: Any) -> Row:
    """A version folder with a tiny network of random weights."""

    def row(type_: ModelType) -> Sample:
        def make(folder: Path, device: Device) -> AnyModel:
            version = tiny_version(folder / "1", type_.name, **values)
            return type_.build("asked", ModelOptions(version=version.folder), device)

        return Sample(type_.name + suffix, type_, make)

    return row


def _bundle(type_: ModelType) -> Sample:
    def make(folder: Path, device: Device) -> AnyModel:
        source = bundle(folder / "ball", {"0": "background", "1": "ball"}, 2)
        return type_.build("asked", ModelOptions(str(source)), device)

    return Sample(type_.name, type_, make)


def _nninteractive(storage: Any) -> Row:
    def make(folder: Path, device: Device) -> AnyModel:
        return NnInteractive("tiny", tiny_nninteractive(folder / "tiny"), device, storage=storage)

    return lambda type_: Sample(f"{type_.name}_{storage}", type_, make, {"autozoom": False})


def _limited(type_: ModelType) -> Sample:
    """Zooms, as by default, within a limit of patches."""

    def make(folder: Path, device: Device) -> AnyModel:
        return type_.build("tiny", ModelOptions(str(tiny_nninteractive(folder / "tiny")), patches=2), device)

    return Sample(f"{type_.name}_limited", type_, make)


def _starter(type_: ModelType) -> Sample:
    def make(folder: Path, device: Device) -> AnyModel:
        quick = Device("cpu", threads=1)  # in whatever precision is faster here; its clicks are the slowest of all
        return type_.build("starter", ModelOptions(), quick)

    return Sample(f"{type_.name}_starter", type_, make, {"autozoom": False}, slow=True)


ROWS: Mapping[str, list[Row]] = {
    "nninteractive": [_starter, _nninteractive("tensor"), _nninteractive("blosc2"), _limited],
    "deepgrow_2d": [_version(seed=3)],
    "deepgrow_3d": [_version(seed=3), _version("_coarse", spacing=1.7, seed=3)],
    "deepedit": [_version()],
    "segmentation": [_version()],
    "bundle": [_bundle],
}
