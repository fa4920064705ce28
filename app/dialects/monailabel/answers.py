"""The mask in the response of `/infer/` (docs/protocols/monailabel.md, sections 5.2 to 5.5)."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from fastapi import Response
from fastapi.responses import FileResponse, JSONResponse
from numpy.typing import NDArray
from starlette.background import BackgroundTask

from app.core.mask import Mask
from app.core.volume import Geometry
from app.dialects.monailabel.params import InferParams
from app.errors import NotSupported
from app.formats.nrrd import nrrd_header
from app.formats.slicewise_gzip import SlicewiseGzip
from app.services import Services

Output = Literal["", "all", "image", "json", "dicom_seg"]


@dataclass(frozen=True)
class Result:
    """A labelmap whose values are 1-based positions in `names`. `labelmap` and `gzip` create it on demand, because an
    interactive session keeps its mask compressed and an uncompressed copy is rarely needed."""

    geometry: Geometry
    names: tuple[str, ...]
    labelmap: Callable[[], NDArray[np.uint8]]
    gzip: Callable[[], bytes]

    @classmethod
    def of(cls, mask: Mask) -> Result:
        """From a mask; where segments overlap, the later one wins. Raises `NotSupported` above 255 segments."""
        if len(mask.segments) > 255:
            raise NotSupported("this protocol's masks have one byte a voxel, so at most 255 structures")
        labelmap = mask.labelmap().astype(np.uint8, copy=False)
        names = tuple(segment.name for segment in mask.segments)
        return cls(mask.geometry, names, lambda: labelmap, lambda: SlicewiseGzip(labelmap).gzip())

    def mask(self) -> Mask:
        return Mask.single(self.labelmap(), list(self.names), self.geometry)

    def nrrd(self, compress: bool) -> bytes:
        """The NIfTI file on the client's voxel grid, i fastest, k ascending.

        Protocol: docs/protocols/monailabel.md, section 5.3.
        """
        if compress:
            return nrrd_header(self.geometry, np.uint8, "gzip") + self.gzip()
        # join makes one copy; with + there would be several of up to a hundred megabytes.
        return b"".join((nrrd_header(self.geometry, np.uint8, "raw"), np.ascontiguousarray(self.labelmap()).data))


def answer(services: Services, result: Result, output: Output, params: InferParams, case_id: str, who: str) -> Response:
    """The HTTP response in the requested format. Without a format it includes the file, which Slicer needs."""
    fields: dict[str, Any] = {"label_names": {name: value for value, name in enumerate(result.names, start=1)}}
    if output == "json":
        return JSONResponse(fields)
    if output == "dicom_seg":
        return _dicom_seg(services, result, params, case_id, who)
    name = f"mask_{secrets.token_hex(8)}.nrrd"
    content = result.nrrd(params.result_compress)
    if output == "image":
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store, no-transform"}
        return Response(content, media_type="application/octet-stream", headers=headers)
    return params_and_file(fields, name, content)


def _dicom_seg(services: Services, result: Result, params: InferParams, case_id: str, who: str) -> Response:
    given = [entry.name for entry in params.label_info]
    names = given if len(given) == len(result.names) else list(result.names)
    file = services.labels.dicom_seg(case_id, result.mask(), names, who)
    cleaned = BackgroundTask(shutil.rmtree, file.parent, ignore_errors=True)
    return FileResponse(file, media_type="application/dicom", filename=file.name, background=cleaned)


def params_and_file(params: Mapping[str, Any], name: str, content: bytes) -> Response:
    """The two-part response: parameters, then the mask file. It has a Content-Length, because clients read the raw
    socket and don't support chunked encoding.

    Protocol: docs/protocols/monailabel.md, sections 1.3 and 5.2.

    `params` has no file name, which is how they tell it from the file; `name` is what they call the file.
    """
    boundary = secrets.token_hex(16)
    body = b"\r\n".join(
        (
            f"--{boundary}".encode(),
            b'Content-Disposition: form-data; name="params"',
            b"Content-Type: application/json",
            b"",
            json.dumps(params).encode(),
            f"--{boundary}".encode(),
            f'Content-Disposition: form-data; name="image"; filename="{name}"'.encode(),
            b"Content-Type: application/octet-stream",
            b"",
            content,
            f"--{boundary}--".encode(),
            b"",
        )
    )
    # no-transform: a proxy must not compress it either, because that makes it chunked.
    headers = {"Cache-Control": "no-store, no-transform"}
    return Response(body, media_type=f"multipart/form-data; boundary={boundary}", headers=headers)
