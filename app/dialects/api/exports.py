"""Exports: labels and images in the formats of other programs, as one archive."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from app.dialects.api.common import binary
from app.services import Services
from app.services.export_service import ExportState
from app.services.exports import ExportOptions, OverlapRule

Format = Literal["nnunet", "nifti", "nrrd", "seg", "rtstruct", "bids", "msd", "csv"]


class ExportRequest(BaseModel):
    """What is exported: see `docs/data.md`. `structures` are all if the list is empty."""

    format: Format
    tag: str = "final"
    structures: list[str] = []
    overlaps: OverlapRule = "refuse"
    modality: Annotated[str, Field(max_length=16)] = ""
    bids_suffix: Annotated[str, Field(max_length=16)] = ""


class ExportShape(BaseModel):
    """An export. `left_out` says by case id why a case isn't in it; `message` why it failed."""

    id: str
    format: Format
    state: Literal["running", "done", "failed"]
    progress: float
    cases: int
    left_out: dict[str, str]
    notes: list[str]
    message: str

    @classmethod
    def of(cls, state: ExportState) -> ExportShape:
        return cls(
            id=state.id,
            format=state.options.format,
            state=state.state,
            progress=state.progress,
            cases=state.cases,
            left_out=dict(state.left_out),
            notes=list(state.notes),
            message=state.message,
        )


def add(api: APIRouter, services: Services) -> None:
    exports = services.exports

    @api.post("/exports", summary="Export labels", status_code=202)
    def started(asked: ExportRequest) -> ExportShape:
        """Begins in the background. 429 while another export runs. The last one is kept until one with other options
        begins."""
        options = ExportOptions(
            asked.format, asked.tag, tuple(asked.structures), asked.overlaps, asked.modality, asked.bids_suffix
        )
        return ExportShape.of(exports.start(options))

    @api.get("/exports/{export_id}", summary="One export")
    def one(export_id: str) -> ExportShape:
        return ExportShape.of(exports.get(export_id))

    @api.get(
        "/exports/{export_id}/file",
        summary="An export's archive",
        response_class=FileResponse,
        responses=binary("application/zip"),
    )
    def file(export_id: str) -> FileResponse:
        """A zip file. 409 before the export is done."""
        archive = exports.archive(export_id)
        name = f"segloop-{exports.get(export_id).options.format}.zip"
        return FileResponse(archive, media_type="application/zip", filename=name)
