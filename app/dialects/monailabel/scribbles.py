"""Painted strokes: a labelmap of all segments, two of which are the strokes.

Protocol: docs/protocols/monailabel.md, section 5.6.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Box, Prompt, Region, Scribble
from app.core.volume import Geometry
from app.dialects.monailabel.clicks import decode_box
from app.dialects.monailabel.params import InferParams
from app.errors import BadInput
from app.formats.label_files import read_label
from app.http.forms import Upload

INSIDE, BESIDE = "foreground_scribbles", "background_scribbles"


def decode_scribbles(params: InferParams, label: Upload | None, geometry: Geometry, max_bytes: int) -> list[Prompt]:
    """The box if there is one, then the strokes beside the structure, then those on it.

    Raises `BadInput`, `BadFile`, `GeometryMismatch`.
    """
    if label is None:
        raise BadInput("scribbles come as the form's file 'label'")
    # Here, and only here, an entry's voxel value is its `id`.
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
