"""POST `/api/infer` (docs/protocols/itkit.md, sections 2.5, 3 and 4): a NIfTI image in, a NIfTI label map out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.dialects.itkit.routes import Refusal
from app.errors import BadFile
from app.formats.slicewise_gzip import SlicewiseGzip
from app.formats.volume_files import nifti_header_bytes, read_volume
from app.http.forms import Form, received
from app.http.identity import identity
from app.services import Services
from app.services.external_models import Handling, LabelMap, LoadedModel

_HEADERS = {
    "Content-Disposition": "attachment; filename=segmentation.nii.gz",
    # The body is a gzip file. No proxy may compress or decompress it.
    "Cache-Control": "no-store, no-transform",
}


def add(api: APIRouter, services: Services) -> None:

    @api.post("/infer", response_class=Response)
    async def infer(request: Request) -> Response:
        """Segment an image; the label map is on the image's own grid, or with `grid=lpi` on the network's."""
        async with received(request, services.incoming, services.settings.labels.max_upload_bytes) as form:
            return await run_in_threadpool(_answer, services, form, identity(request, "", "itkit"))


def _answer(services: Services, form: Form, who: str) -> Response:
    model = _named(services, form) if "model_name" in form.fields else _current(services, form)
    handling = _handling(form.fields)
    try:
        volume = read_volume(form.needed("image").file, services.settings.labels.max_upload_bytes)
        return _file(services.external.segment(model, volume, handling, who))
    except BadFile as error:
        # An error of the image or of the model: the protocol uses 500 for both.
        raise Refusal(500, str(error)) from error


def _named(services: Services, form: Form) -> LoadedModel:
    """The model of the plural API. Missing fields are checked in the same order as the original server's."""
    if form.upload("image") is None:
        raise Refusal(400, "No image file uploaded")
    if not form.fields["model_name"]:
        raise Refusal(400, "Model name is required")
    return services.external.get(form.fields["model_name"])


def _current(services: Services, form: Form) -> LoadedModel:
    """The model of the singular API."""
    model = services.external.current()
    if model is None:
        raise Refusal(400, "No model loaded")
    if form.upload("image") is None:
        raise Refusal(400, "No image file uploaded")
    return model


def _handling(fields: Mapping[str, str]) -> Handling:
    """The plural API passes values and axes to the network unchanged; the singular one reorients and scales them."""
    force_cpu = fields.get("force_cpu", "").strip().lower() == "true"
    if "model_name" in fields:
        return Handling(force_cpu=force_cpu)
    grid = fields.get("grid", "").strip().lower()
    if grid not in ("", "input", "lpi"):
        raise Refusal(400, f"grid is input or lpi, not {grid!r}")
    level, width = _number(fields, "window_level"), _number(fields, "window_width")
    return Handling(windowed=True, level=level, width=width, lpi_grid=grid == "lpi", force_cpu=force_cpu)


def _number(fields: Mapping[str, str], name: str) -> float | None:
    """A decimal number; an empty field counts as none. Raises `Refusal` for anything else."""
    text = fields.get(name, "").strip()
    try:
        number = float(text) if text else None
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise Refusal(400, f"{name} should be a number, not {text[:40]!r}")
    return number


def _file(found: LabelMap) -> Response:
    header = nifti_header_bytes(found.geometry, np.dtype(np.uint8))
    content = SlicewiseGzip(np.ascontiguousarray(found.labels)).gzip(header)
    return Response(content, media_type="application/octet-stream", headers=_HEADERS)
