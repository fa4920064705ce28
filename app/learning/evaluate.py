"""Evaluation of a model version: Dice on whole validation cases, through the same code that serves clients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from app.core.mask import Mask, dice
from app.core.model import AnyModel, AutomaticModel, InteractiveModel
from app.core.robot import Robot
from app.core.volume import Volume
from app.errors import Cancelled, SegloopError
from app.learning.dataset import Labelled
from app.learning.gate import Found, Measured
from app.project.project import Project

logger = logging.getLogger(__name__)

CLICKS = (1, 3, 5)
"""After how many clicks interactive models are compared: the first must not get worse, nor what corrections reach."""


def evaluate(
    model: AnyModel, cases: Sequence[Labelled], names: Sequence[str], project: Project, step: Callable[[], None]
) -> Measured:
    """Dice by case and structure, of structures that are segmented or absent in a case. An interactive model is clicked
    through each structure that there is: into the middle, then into the middle of the largest error, as
    `app.core.robot.Robot` does it; its Dice is the mean of those after `CLICKS`.

    Calls `step` before each case, each window and each click, which may raise to cancel. Unreadable cases are left out.
    """
    found: list[Found] = []
    count = 0
    for one in cases:
        step()
        try:
            volume, truth = one.open(project)
            names_here = [name for name in names if name in one.label.examined]
            patient, case_id = one.row.case.patient_key, one.row.case.id
            for name, dices in _dice_of_case(model, volume, truth, names_here, step):
                by_clicks = dict(zip(CLICKS, dices, strict=True)) if len(dices) > 1 else {}
                found.append(Found(patient, case_id, name, float(np.mean(dices)), by_clicks))
            count += 1
        except Cancelled:
            raise
        except SegloopError as error:
            logger.warning("case %s can't be measured: %s", one.row.case.id, error)
    return Measured(found, count)


def _dice_of_case(
    model: AnyModel, volume: Volume, truth: Mask, names: Sequence[str], step: Callable[[], None]
) -> Iterator[tuple[str, Sequence[float]]]:
    """By structure, one Dice, or one after each of `CLICKS`."""
    listed = {segment.name: segment.number for segment in truth.segments if segment.name in names}
    if model.card.kind == "interactive":
        for name, number in listed.items():
            wanted = truth.voxels_of(number)
            if wanted.any():
                yield name, _after_clicks(cast(InteractiveModel, model), volume, wanted, step)
        return
    predicted = cast(AutomaticModel, model).segment(volume, lambda done, text="": step(), {})
    numbers = {segment.name: segment.number for segment in predicted.segments}
    # A structure that the model doesn't know counts as not found.
    nowhere = np.zeros(volume.geometry.shape, bool)
    for name, number in listed.items():
        here = predicted.voxels_of(numbers[name]) if name in numbers else nowhere
        value = dice(here, truth.voxels_of(number))
        if value is not None:
            yield name, [value]


def _after_clicks(
    model: InteractiveModel, volume: Volume, truth: NDArray[np.bool_], step: Callable[[], None]
) -> Sequence[float]:
    """Dice after each of `CLICKS`. Once nothing is wrong nobody clicks any more."""
    if model.card.dimension == 2:
        k = int(truth.sum(axis=(1, 2)).argmax())  # the slice with most of the structure
        truth = truth & (np.arange(truth.shape[0]) == k)[:, None, None]
    robot = Robot()
    session = model.open(volume, {})
    values: list[float] = []
    try:
        for _ in range(max(CLICKS)):
            prompt = robot.next_prompt(truth, session.mask > 0)
            if prompt is not None:
                step()
                session.add(prompt)
            values.append(dice(session.mask > 0, truth) or 0.0)
        return [values[number - 1] for number in CLICKS]
    finally:
        session.close()
