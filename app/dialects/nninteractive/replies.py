"""What a prediction changed, as clients read it: a box of their buffer, and its new voxels.

Protocol: docs/protocols/nninteractive.md, section 2.2.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from fastapi import Response

from app.dialects.nninteractive.arrays import pack
from app.dialects.nninteractive.requests import META_HEADER
from app.services.prompting.session import Change


def reply(ran: bool, change: Change | None, dtype: np.dtype[np.generic]) -> Response:
    """`ran`: whether something was predicted or undone, even if that changed no voxel. `dtype` of the client's
    buffer."""
    meta: dict[str, Any] = {"ran_prediction": ran, "bbox": None}
    body = b""
    if change is not None and change.region is not None and change.voxels is not None:
        region, voxels = change.region, change.voxels
        meta["bbox"] = [[low, high] for low, high in zip(region.low, region.high, strict=True)]
        meta |= {"dtype": str(dtype), "shape": list(voxels.shape)}
        body = pack(voxels.astype(dtype, copy=False))
    headers = {META_HEADER: json.dumps(meta, separators=(",", ":"))}
    return Response(body, media_type="application/octet-stream", headers=headers)
