"""Thumbnails of cases."""

from __future__ import annotations

import hashlib
import io
import threading
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Header, Query, Response
from numpy.typing import NDArray

from app.core.volume import Volume
from app.dialects.api.common import binary
from app.errors import BadInput
from app.services import Services

AT_ONCE = 2
"""How many thumbnails are made at the same time: a page of cases that aren't cached must not occupy all connections to
the archive."""

_HEADERS = {"Cache-Control": "private, max-age=3600"}


def add(api: APIRouter, services: Services) -> None:
    turns = threading.BoundedSemaphore(AT_ONCE)

    @api.get(
        "/cases/{case_id}/thumbnail",
        summary="A picture of one slice",
        response_class=Response,
        responses={**binary("image/png"), 304: {"description": "the picture is the one that the caller has"}},
    )
    def thumbnail(
        case_id: str,
        k: Annotated[int | None, Query(alias="slice", description="from 0; else the most uncertain, or middle")] = None,
        size: Annotated[int, Query(ge=16, le=1024, description="of the longer side, in pixels")] = 256,
        known: Annotated[str, Header(alias="If-None-Match")] = "",
    ) -> Response:
        """The grey scale covers the slice's 1st to 99th percentile. Fetches the images if they aren't cached."""
        row = services.cases.get(case_id)
        wanted = k if k is not None else _most_uncertain(services, case_id)
        content = f"{row.case.id} {row.case.stamp} {wanted} {size}"
        headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'}
        if headers["ETag"] in known:
            return Response(status_code=304, headers=headers)
        with turns:
            volume = services.cases.open(row)
            return Response(picture(volume, _chosen(volume, k, wanted), size), media_type="image/png", headers=headers)


def picture(volume: Volume, k: int, size: int) -> bytes:
    """Slice `k` as a PNG whose longer side has `size` pixels, with square pixels in millimetres."""
    from PIL import Image

    image = Image.fromarray(_grey(np.asarray(volume.voxels[k], np.float32)))
    step_i, step_j, _ = volume.geometry.spacing
    width, height = image.width * step_i, image.height * step_j
    scale = size / max(width, height)
    image = image.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _grey(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(finite, (1, 99))
    shown = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return np.asarray(np.clip((shown - low) / max(high - low, 1e-6), 0, 1) * 255 + 0.5, np.uint8)


def _most_uncertain(services: Services, case_id: str) -> int | None:
    slices = (score.detail.get("slices") for score in services.cases.scores(case_id))
    return next((int(found[0]) for found in slices if found), None)


def _chosen(volume: Volume, asked: int | None, wanted: int | None) -> int:
    """The slice to show. A requested slice must exist; a scored one may be out of range if the images changed since."""
    depth = volume.geometry.shape[0]
    if asked is not None and not 0 <= asked < depth:
        raise BadInput(f"there is no slice {asked}; this case has slices 0 to {depth - 1}")
    return depth // 2 if wanted is None else min(wanted, depth - 1)
