"""One simulated user after the other: every structure of every case, prompt by prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import InitialMask, Point, Prompt
from app.core.robot import Robot
from app.simulation.cases import Case
from app.simulation.prompted import Prompted, Target
from app.simulation.scores import dice, surface_dice


@dataclass(frozen=True)
class Protocol:
    """`box`: a box comes before the clicks. `min_voxels`: smaller structures are left out."""

    clicks: int = 10
    box: bool = False
    min_voxels: int = 200


@dataclass(frozen=True)
class Step:
    """What one prompt came to. `number` is 0 for the box and counts the clicks from 1; `prompt` is `none` when nothing
    was wrong any more: the mask stays. `seconds` is the time until the answer was there; 0 without a prompt. `error` is
    why a prompt wasn't answered."""

    case: str
    structure: int
    number: int
    prompt: str
    include: bool
    at: str
    dice: float
    surface_dice: float
    seconds: float
    error: str = ""


def simulate(cases: Iterable[Case], target: Target, robot: Robot, protocol: Protocol) -> Iterator[Step]:
    """Every step, as it is done."""
    for case in cases:
        structures = case.structures(protocol.min_voxels)
        if not structures:
            continue
        with target.open(case.volume) as prompted:
            for structure in structures:
                yield from _structure(case, structure, prompted, robot, protocol)
                prompted.reset()


def _structure(case: Case, structure: int, prompted: Prompted, robot: Robot, protocol: Protocol) -> Iterator[Step]:
    truth = case.labels == structure
    mask: NDArray[np.bool_] = np.zeros(truth.shape, np.bool_)
    i, j, k = case.volume.geometry.spacing
    for number in range(0 if protocol.box else 1, protocol.clicks + 1):
        prompt = robot.box(truth) if number == 0 else robot.next_prompt(truth, mask)
        seconds, error = 0.0, ""
        if prompt is not None:
            start = perf_counter()
            try:
                mask = prompted.add(prompt)
            except Exception as fault:  # whatever the target raises is a finding, and the other structures go on
                error = f"{type(fault).__name__}: {fault}"
            seconds = perf_counter() - start
        yield Step(
            case.name,
            structure,
            number,
            type(prompt).__name__.lower() if prompt is not None else "none",
            getattr(prompt, "include", True),
            _place(prompt),
            dice(truth, mask),
            surface_dice(truth, mask, (k, j, i)),
            seconds,
            error,
        )


def _place(prompt: Prompt | None) -> str:
    """The voxel, or the first voxel of the region."""
    if prompt is None or isinstance(prompt, InitialMask):
        return ""
    place = prompt.at if isinstance(prompt, Point) else prompt.region.low
    return " ".join(str(x) for x in place)
