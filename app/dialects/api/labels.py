"""Labels: submitting voxels, history, and downloads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, ValidationError

from app.core.label import FINAL, DeliveryState, Label, StructureState, Submission
from app.core.mask import Mask
from app.dialects.api.common import Asking, binary, gzipped, inflate
from app.errors import BadInput, NotSupported
from app.http.bodies import whole_body
from app.http.errors import problems
from app.http.forms import received
from app.services import Services
from app.services.prompting.log import Viewer
from app.services.structure_names import placeholder

Tag = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")]
"""The label's tag: a case with a `final` label is completed, and is trained on."""


class LabelShape(BaseModel):
    """One version of a case's label. `structures` are those that have a segment, `states` what is said of every
    structure of the project. `delivered`: whether the archive confirmed it; null if it isn't sent there."""

    id: int
    case_id: str
    tag: str
    number: int
    author: str
    client: str
    model: str
    model_version: str
    comment: str
    created: datetime
    structures: list[str]
    states: dict[str, StructureState]
    sop_instance_uid: str
    delivered: bool | None
    sha256: str

    @classmethod
    def of(cls, label: Label, state: DeliveryState | None, structures: list[str]) -> LabelShape:
        """`structures` are those of the project."""
        return cls(
            id=label.id,
            case_id=label.case_id,
            tag=label.tag,
            number=label.number,
            author=label.author,
            client=label.client,
            model=label.model,
            model_version=label.model_version,
            comment=label.comment,
            created=label.created,
            structures=[segment.name for segment in label.segments],
            states=label.states_among(structures),
            sop_instance_uid=label.sop_instance_uid,
            delivered=None if state is None else state == "delivered",
            sha256=label.sha256,
        )


class LabelMeta(BaseModel):
    """The metadata of submitted voxels. `structures` are in the order of their numbers, as a list or separated by
    commas; they may be left out if the project has only one. `absent` are those that the annotator looked for and that
    aren't there; all others without voxels are not examined. Without it, the setting `labels.unmarked` says what they
    are. `sessions` are the ids of those in which this was drawn: they are a draft no longer."""

    structures: list[str] | str = ""
    absent: list[str] | str | None = None
    comment: str = ""
    tag: Tag = FINAL
    model: str = ""
    sessions: list[str] = []

    def names(self) -> list[str]:
        return _listed(self.structures)

    def marked_absent(self) -> list[str] | None:
        return None if self.absent is None else list(dict.fromkeys(_listed(self.absent)))


class VoxelsShape(BaseModel):
    """A label map: base64 of gzip of one byte per voxel, C order [k, j, i]; the value is the position in `structures`,
    from 1. Where structures overlap, the later one wins."""

    shape: tuple[int, int, int]
    structures: list[str]
    voxels: str


_FILE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {"voxels": {"type": "string", "format": "binary"}, "meta": {"type": "string"}},
        "required": ["voxels"],
    }
}
_MEDIA_TYPES = {".dcm": "application/dicom", ".gz": "application/gzip"}
_BODY = {"requestBody": {"content": {"application/octet-stream": _FILE, "multipart/form-data": _FORM}}}


def add(api: APIRouter, services: Services) -> None:
    labels = services.labels

    @api.post("/cases/{case_id}/labels", summary="Submit voxels as a label", status_code=201, openapi_extra=_BODY)
    async def submitted(
        request: Request,
        asking: Asking,
        case_id: str,
        structures: str = "",
        comment: str = "",
        tag: str = FINAL,
        model: str = "",
        absent: str | None = None,
    ) -> LabelShape:
        """The body is gzip of one byte per voxel of the whole case, C order [k, j, i]: 0, or the position in
        `structures`, from 1. In a form it is the file `voxels`, and the metadata may be JSON in the field `meta`. The
        label is durable when this responds."""
        await run_in_threadpool(services.cases.get, case_id)  # fail before receiving a large body
        given = {"structures": structures, "comment": comment, "tag": tag, "model": model, "absent": absent}
        limit = services.settings.labels.max_upload_bytes
        if request.headers.get("content-type", "").lower().startswith("multipart/"):
            async with received(request, services.incoming, limit) as form:
                meta = _meta({**given, **form.json("meta")})
                file = form.needed("voxels").file
                return await run_in_threadpool(_submit_file, services, case_id, file, meta, asking)
        packed = await whole_body(request, limit)
        return await run_in_threadpool(_submit, services, case_id, packed, _meta(given), asking)

    @api.get("/cases/{case_id}/labels", summary="A case's labels")
    def of_case(case_id: str) -> list[LabelShape]:
        """Every version under every tag, oldest first."""
        services.cases.get(case_id)
        return shapes_of(services, [label for label in labels.history(case_id) if not label.deleted])

    @api.get("/labels", summary="Labels of all cases")
    def listed(
        since: datetime | None = None,
        who: Annotated[str, Query(description="the author")] = "",
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> list[LabelShape]:
        """Newest first. A time without a zone is UTC."""
        return shapes_of(services, labels.newest_first(_seconds(since), who, limit))

    @api.get(
        "/labels/{label_id}/file",
        summary="A label's file",
        response_class=FileResponse,
        responses=binary("application/dicom", "application/gzip"),
    )
    def file(label_id: int) -> FileResponse:
        """The stored file: a DICOM SEG for a series, a label map in the image's format for a volume file."""
        stored = labels.stored_file(labels.get(label_id))
        return FileResponse(
            stored.path,
            media_type=_MEDIA_TYPES.get(stored.path.suffix, "application/octet-stream"),
            filename=stored.name,
        )

    @api.get("/labels/{label_id}/voxels", summary="A label's voxels")
    def voxels(label_id: int) -> VoxelsShape:
        mask = labels.mask(labels.get(label_id))
        if len(mask.segments) > 255:
            raise NotSupported("answers have one byte a voxel, so at most 255 structures; ask for the file")
        return VoxelsShape(
            shape=mask.geometry.shape,
            structures=[segment.name for segment in mask.segments],
            voxels=gzipped(mask.labelmap().astype(np.uint8, copy=False)),
        )


def shapes_of(services: Services, labels: list[Label]) -> list[LabelShape]:
    states = services.deliveries.states([label.id for label in labels])
    structures = services.settings.labels.structures
    return [LabelShape.of(label, states.get(label.id), structures) for label in labels]


def _submit_file(services: Services, case_id: str, file: Path, meta: LabelMeta, asking: Viewer) -> LabelShape:
    return _submit(services, case_id, file.read_bytes(), meta, asking)


def _submit(services: Services, case_id: str, packed: bytes | bytearray, meta: LabelMeta, asking: Viewer) -> LabelShape:
    """Raises `BadInput`, `BadFile`; then nothing has changed."""
    geometry = services.cases.volume(case_id).geometry
    voxels = inflate(packed, geometry.shape)
    mask = Mask.single(voxels, _names(meta, int(voxels.max())), geometry)
    submission = Submission(asking.who, asking.client, meta.tag, meta.model, comment=meta.comment)
    label = services.labels.submit_mask(case_id, mask, submission, meta.marked_absent())
    services.drafts.end(meta.sessions, label.id)
    return shapes_of(services, [label])[0]


def _names(meta: LabelMeta, highest: int) -> list[str]:
    """The structures by number; "Segment n" for those without a name. Raises `BadInput` if they don't fit the
    voxels."""
    names = meta.names()
    if not names:
        return [placeholder(number) for number in range(1, highest + 1)]
    if not all(names) or len(set(names)) != len(names):
        raise BadInput("every structure needs a name of its own")
    if len(names) > 255 or highest > len(names):
        raise BadInput(f"the voxels have numbers up to {highest}, and {len(names)} structures were named (255 at most)")
    return names


def _seconds(since: datetime | None) -> float:
    """The start time in seconds since the epoch, slightly earlier: times in responses are rounded to microseconds, and
    such a time used as `since` must include its own label."""
    if since is None:
        return 0.0
    return (since if since.tzinfo else since.replace(tzinfo=UTC)).timestamp() - 1e-6


def _listed(names: list[str] | str) -> list[str]:
    given = names.split(",") if isinstance(names, str) else names
    return [name.strip() for name in given] if names else []


def _meta(given: Mapping[str, Any]) -> LabelMeta:
    try:
        return LabelMeta.model_validate(given)
    except ValidationError as error:
        raise BadInput(f"about the label: {'; '.join(problems(error))}") from error
