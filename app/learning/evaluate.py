"""Evaluation of a model version: Dice on whole validation cases, through the same code that serves clients."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from app.core.mask import Mask, dice
from app.core.model import AnyModel, AutomaticModel, InteractiveModel
from app.core.prompt import Point
from app.core.volume import Index, Volume
from app.errors import Cancelled, SegloopError
from app.learning.dataset import Labelled
from app.learning.gate import Found, Measured
from app.project.project import Project

logger = logging.getLogger(__name__)


def evaluate(
    model: AnyModel, cases: Sequence[Labelled], names: Sequence[str], project: Project, step: Callable[[], None]
) -> Measured:
    """Dice by case and structure, of structures that are segmented or absent in a case. An interactive model gets one
    click, in the middle of each structure.

    Calls `step` before each case and each window, which may raise to cancel. Unreadable cases are left out.
    """
    found: list[Found] = []
    count = 0
    for one in cases:
        step()
        try:
            volume, truth = one.open(project)
            examined = [name for name in names if name in one.label.examined]
            for name, value in _dice_of_case(model, volume, truth, examined, step):
                found.append(Found(one.row.case.patient_key, one.row.case.id, name, value))
            count += 1
        except Cancelled:
            raise
        except SegloopError as error:
            logger.warning("case %s can't be measured: %s", one.row.case.id, error)
    return Measured(found, count)


def middle(area: NDArray[np.bool_]) -> Index:
    """The voxel of a non-empty area `(k, j, i)` that is farthest from its border."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(area, 1))[1:-1, 1:-1, 1:-1]
    return cast(Index, tuple(int(x) for x in np.unravel_index(int(depth.argmax()), area.shape)))


def _dice_of_case(
    model: AnyModel, volume: Volume, truth: Mask, names: Sequence[str], step: Callable[[], None]
) -> Iterator[tuple[str, float]]:
    listed = {segment.name: segment.number for segment in truth.segments if segment.name in names}
    if model.card.kind == "interactive":
        clicked = cast(InteractiveModel, model)
        pairs = ((name, _after_a_click(clicked, volume, truth.voxels_of(number))) for name, number in listed.items())
    else:
        predicted = cast(AutomaticModel, model).segment(volume, lambda done, text="": step(), {})
        numbers = {segment.name: segment.number for segment in predicted.segments}
        # A structure that the model doesn't know counts as not found.
        nowhere = np.zeros(volume.geometry.shape, bool)
        pairs = (
            (name, dice(predicted.voxels_of(numbers[name]) if name in numbers else nowhere, truth.voxels_of(number)))
            for name, number in listed.items()
        )
    yield from ((name, value) for name, value in pairs if value is not None)


def _after_a_click(model: InteractiveModel, volume: Volume, truth: NDArray[np.bool_]) -> float | None:
    if not truth.any():
        return None
    flat = model.card.dimension == 2
    if flat:
        k = int(truth.sum(axis=(1, 2)).argmax())  # the slice with most of the structure
        truth = truth & (np.arange(truth.shape[0]) == k)[:, None, None]
    session = model.open(volume, {})
    try:
        session.add(Point(middle(truth)))
        return dice(session.mask > 0, truth)
    finally:
        session.close()
