"""Converting point lists to prompts. Only this module converts `[i, j, k]` of the wire to `(k, j, i)`.

Protocol: docs/protocols/monailabel.md, section 5.6.

Viewers send all points of a structure every time. The difference to the previous request is the annotator's new input;
if a point was removed, the session is rebuilt from the start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Box, Point, Prompt, Region, Scribble
from app.core.volume import Geometry, Index
from app.dialects.monailabel.params import InferParams
from app.errors import BadInput, BadPrompt
from app.formats.label_files import read_label
from app.http.forms import Upload


@dataclass(frozen=True)
class Clicks:
    """The input for one structure: including and excluding points in click order, and optionally a box."""

    include: tuple[Index, ...] = ()
    exclude: tuple[Index, ...] = ()
    box: Region | None = None

    def prompts(self) -> list[Prompt]:
        """All prompts: the box, including points, excluding points. (The order between these isn't sent.)"""
        return Clicks().until(self) or []

    def until(self, later: Clicks) -> list[Prompt] | None:
        """The prompts that were added from here to `later`; None if something was removed."""
        include, exclude = _added(self.include, later.include), _added(self.exclude, later.exclude)
        if include is None or exclude is None or (self.box is not None and self.box != later.box):
            return None
        box: list[Prompt] = [Box(later.box)] if later.box is not None and self.box is None else []
        return [*box, *(Point(p) for p in include), *(Point(p, include=False) for p in exclude)]

    def after(self, prompts: Sequence[Prompt]) -> Clicks:
        """With some of the prompts that `until` returned."""
        include = (prompt.at for prompt in prompts if isinstance(prompt, Point) and prompt.include)
        exclude = (prompt.at for prompt in prompts if isinstance(prompt, Point) and not prompt.include)
        boxes = (prompt.region for prompt in prompts if isinstance(prompt, Box))
        return Clicks((*self.include, *include), (*self.exclude, *exclude), next(boxes, self.box))


def decode_clicks(params: InferParams, shape: Index, dimension: int) -> Clicks:
    """The clicks in `params` on a volume of `shape` `(k, j, i)`; for a 2D model those on one slice.

    Raises `BadPrompt`.
    """
    include, exclude = decode_points(params.foreground, shape), decode_points(params.background, shape)
    if include == exclude:
        include = ()  # OHIF sends the row "background" as both
    box = decode_box(params.roi, shape)
    if dimension == 2:
        return _on_one_slice(include, exclude, box, params.slice, shape)
    return Clicks(include, exclude, box)


def decode_points(points: Sequence[Sequence[float]], shape: Index) -> tuple[Index, ...]:
    """Wire points `[i, j, k]` as indices `(k, j, i)`, clamped to the volume: a rounded click at the border may be just
    outside. Raises `BadPrompt`."""
    found = []
    for point in points:
        k, j, i = (_clamped(x, n) for x, n in zip(reversed(point), shape, strict=True))
        found.append((k, j, i))
    return tuple(found)


def decode_box(roi: Sequence[float], shape: Index) -> Region | None:
    """A box from `[i0, i1, j0, j1, k0, k1]`, both ends included, pairs in any order (RAS to IJK often swaps them)."""
    if not roi:
        return None
    pairs = [sorted(_clamped(x, n) for x in roi[at : at + 2]) for at, n in zip((4, 2, 0), shape, strict=True)]
    (k0, k1), (j0, j1), (i0, i1) = pairs
    return Region((k0, j0, i0), (k1 + 1, j1 + 1, i1 + 1))


def _clamped(value: float, size: int) -> int:
    if not isfinite(value):
        raise BadPrompt("a voxel index is a number")
    return min(max(round(value), 0), size - 1)


def _on_one_slice(
    include: tuple[Index, ...], exclude: tuple[Index, ...], box: Region | None, hint: float | None, shape: Index
) -> Clicks:
    """The clicks on the current slice. `hint` is the parameter `slice`, which OHIF doesn't send, and which Slicer
    computes from millimetres when there is only a box."""
    wanted = -1 if hint is None or not isfinite(hint) else min(max(round(hint), 0), shape[0] - 1)
    points = include + exclude
    if any(point[0] == wanted for point in points):
        k = wanted
    elif points:
        k = (include or exclude)[-1][0]
    elif box is None:
        return Clicks()
    else:
        k = wanted if box.low[0] <= wanted < box.high[0] else (box.low[0] + box.high[0] - 1) // 2
    flat = None if box is None else Region((k, *box.low[1:]), (k + 1, *box.high[1:]))
    return Clicks(tuple(p for p in include if p[0] == k), tuple(p for p in exclude if p[0] == k), flat)


def _added(before: tuple[Index, ...], after: tuple[Index, ...]) -> list[Index] | None:
    """The points of `after` beyond those of `before`, in order; None if one of `before` is missing."""
    left = Counter(before)
    added = []
    for point in after:
        if left[point]:
            left[point] -= 1
        else:
            added.append(point)
    return added if not left.total() else None


INSIDE, BESIDE = "foreground_scribbles", "background_scribbles"


def decode_scribbles(params: InferParams, label: Upload | None, geometry: Geometry, max_bytes: int) -> list[Prompt]:
    """Prompts from painted strokes, which are two segments of a labelmap: the box if there is one, then the strokes
    outside the structure, then those inside.

    Protocol: docs/protocols/monailabel.md, section 5.6.

    Raises `BadInput`, `BadFile`, `GeometryMismatch`.
    """
    if label is None:
        raise BadInput("scribbles come as the form's file 'label'")
    # Only for scribbles, an entry's voxel value is its `id`.
    values = {entry.name: entry.id for entry in params.label_info if entry.id is not None and entry.id > 0}
    if INSIDE not in values and BESIDE not in values:
        raise BadInput(f"label_info should name {INSIDE} and {BESIDE} with their id")
    anything = [f"value {value}" for value in range(1, 256)]
    painted = read_label(label.file, geometry, anything, max_bytes=max_bytes).labelmap()
    box = decode_box(params.roi, geometry.shape)
    prompts: list[Prompt] = [Box(box)] if box is not None else []
    for name, include in ((BESIDE, False), (INSIDE, True)):
        stroke = _stroke(painted == values[name], include) if name in values else None
        prompts += [stroke] if stroke is not None else []
    return prompts


def _stroke(voxels: NDArray[np.bool_], include: bool) -> Scribble | None:
    region = Region.around(voxels)
    return None if region is None else Scribble(region, voxels[region.slices], include)
