"""One annotator's way through everything an nnInteractive session can do, for any session that has its methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHAPE = (40, 88, 58)


def image(seed: int = 0) -> NDArray[np.float32]:
    """`(c, k, j, i)`: soft blobs and a slice of zeros."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, SHAPE), 6)
    voxels = (1000 * field / field.std()).astype(np.float32)[None]
    voxels[0, 0] = 0
    return voxels


@dataclass(frozen=True)
class Step:
    """`do` returns what is compared besides the buffer; None for nothing."""

    name: str
    do: Callable[[Any], Any]


def drawn(*box: tuple[int, int], dtype: Any = np.uint8) -> NDArray[Any]:
    """A box painted into a mask over the whole image."""
    mask = np.zeros(SHAPE, dtype)
    mask[tuple(slice(*side) for side in box)] = 1
    return mask


BOX = [[7, 8], [12, 26], [9, 19]]
STROKE = [[9, 10], [14, 20], [10, 13]]
CONTOUR = [[3, 17], [11, 12], [8, 21]]
LONG = [[20, 21], [10, 80], [5, 45]]


def cut(mask: NDArray[Any], box: list[list[int]]) -> NDArray[Any]:
    return np.ascontiguousarray(mask[tuple(slice(*side) for side in box)])


def nothing(call: Callable[[Any], object]) -> Callable[[Any], None]:
    """A step whose answer isn't compared: it is the box that was written, which segloop draws tighter."""

    def do(session: Any) -> None:
        call(session)

    return do


STROKES = drawn((9, 10), (14, 20), (10, 13))
CONTOURS = drawn((3, 17), (11, 12), (8, 21), dtype=np.bool_)
BLOB = drawn((18, 25), (12, 76), (20, 28))

STEPS = [
    Step("point", nothing(lambda s: s.add_point_interaction((8, 20, 13), True))),
    Step("point out", nothing(lambda s: s.add_point_interaction([2, 3, 4], False))),
    Step("undo", lambda s: s.undo()),
    Step("undo twice", lambda s: s.undo()),
    Step("point at the border", nothing(lambda s: s.add_point_interaction(np.array([39, 87, 57]), True))),
    Step("box", nothing(lambda s: s.add_bbox_interaction(BOX, True))),
    Step("box out, over the border", nothing(lambda s: s.add_bbox_interaction([[-3, 6], [60, 90], [57, 58]], False))),
    Step("undo the box", lambda s: s.undo()),
    Step("scribble, cropped", nothing(lambda s: s.add_scribble_interaction(
        cut(STROKES, STROKE), True, interaction_bbox=STROKE))),
    Step("scribble out, whole image", nothing(lambda s: s.add_scribble_interaction(STROKES[::-1].copy(), False))),
    Step("lasso, whole image", nothing(lambda s: s.add_lasso_interaction(CONTOURS, True))),
    Step("lasso out, cropped", nothing(lambda s: s.add_lasso_interaction(
        cut(CONTOURS, CONTOUR), False, interaction_bbox=CONTOUR))),
    Step("undo the lasso", lambda s: s.undo()),
    Step("predict with nothing noted", lambda s: s._predict()),
    Step("note a point", lambda s: s.add_point_interaction((12, 25, 15), True, run_prediction=False)),
    Step("note a scribble", lambda s: s.add_scribble_interaction(
        cut(STROKES, STROKE), False, run_prediction=False, interaction_bbox=STROKE)),
    Step("predict", lambda s: s._predict() is not None),
    Step("predict again", lambda s: s._predict()),
    Step("undo the prediction", lambda s: s.undo()),
    Step("note a box", lambda s: s.add_bbox_interaction(LONG, True, run_prediction=False)),
    Step("predict all anew", lambda s: s._predict(force_full_refine=True) is not None),
    Step("reset", lambda s: s.reset_interactions()),
    Step("undo the reset", lambda s: s.undo()),
    Step("initial segmentation", lambda s: s.add_initial_seg_interaction(BLOB)),
    Step("point on it", nothing(lambda s: s.add_point_interaction((8, 20, 13), False))),
    Step("undo the point", lambda s: s.undo()),
    Step("initial segmentation, refined", nothing(
        lambda s: s.add_initial_seg_interaction(BLOB[::-1].astype(np.bool_), run_prediction=True))),
    Step("undo the refined one", lambda s: s.undo()),
    Step("empty initial segmentation", lambda s: s.add_initial_seg_interaction(np.zeros(SHAPE, np.uint8))),
    Step("undo the empty one", lambda s: s.undo()),
    Step("zoom on", lambda s: s.set_do_autozoom(True)),
    Step("point with zoom", nothing(lambda s: s.add_point_interaction((10, 20, 14), True))),
    Step("zoom off", lambda s: s.set_do_autozoom(False)),
    Step("point without", nothing(lambda s: s.add_point_interaction((4, 8, 22), True))),
]  # fmt: skip


def walk(session: Any, buffer: Any, voxels: NDArray[Any], steps: list[Step]) -> Iterator[tuple[str, Any, NDArray[Any]]]:
    """Take the steps; after each, its name, its answer and a copy of the buffer as an array."""
    session.set_do_autozoom(False)
    session.set_image(voxels, {"spacing": np.array([2.5, 0.7, 0.7])})
    session.set_target_buffer(buffer)
    for step in steps:
        answer = step.do(session)
        yield step.name, answer, np.asarray(buffer).copy()
