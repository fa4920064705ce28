"""`/datastore/`: the list of all images and labels with their info, and the training data as one zip
(docs/protocols/monailabel.md, section 8.1)."""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from app.core.case import CaseRow
from app.core.label import FINAL, Label
from app.dialects.monailabel.routes import route
from app.http.routes import JsonRoute
from app.services import Services
from app.workspace import safe_name


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["datastore"], route_class=JsonRoute)

    @route(api, "GET", "/datastore/")
    def datastore(output: Literal["stats", "all", "train"] = "stats") -> Any:
        """Counts; or everything; or the training pairs, by their names in `/datastore/dataset`."""
        if output == "all":
            return _everything(services)
        if output == "train":
            return [dataset_names(case_id) for case_id, tags in services.labels.overview().items() if FINAL in tags]
        total, completed = services.cases.counts()
        return {"total": total, "completed": completed, "label_tags": services.labels.counts()}

    @route(api, "GET", "/datastore/dataset")
    def dataset(limit_cases: int | None = None) -> FileResponse:
        """`image/`, `label/` and `metadata.json` of all cases with a final label, or of the first `limit_cases`."""
        # Written to a file first: the length is known, downloads can resume, and a failure can be an error response.
        with tempfile.NamedTemporaryFile(
            dir=services.incoming, prefix="dataset-", suffix=".zip", delete=False
        ) as stream:
            file = Path(stream.name)
        try:
            _write(services, file, limit_cases)
        except BaseException:
            file.unlink()
            raise
        removed = BackgroundTask(file.unlink, missing_ok=True)
        return FileResponse(file, media_type="application/zip", filename="dataset.zip", background=removed)

    return api


def _everything(services: Services) -> dict[str, Any]:
    labels = services.labels.overview()
    objects = {
        row.case.id: {
            "image": {"ext": ".nii", "info": image_note(row)},
            "labels": {
                tag: {"ext": ".nii.gz", "info": label_note(label, noted)}
                for tag, (label, noted) in labels.get(row.case.id, {}).items()
            },
        }
        for row in services.cases.all()
        if row.offered
    }
    settings = services.settings
    # images_dir and labels_dir are required fields, but server paths aren't revealed.
    return {
        "name": settings.name,
        "description": settings.description,
        "images_dir": ".",
        "labels_dir": "labels",
        "objects": objects,
    }


def _write(services: Services, file: Path, limit: int | None) -> None:
    finals = [tags[FINAL] for tags in services.labels.overview().values() if FINAL in tags]
    pairs: list[dict[str, Any]] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for label, noted in finals[:limit]:
            image = services.cases.image_file(label.case_id)
            mask = services.labels.download(label)
            names = dataset_names(label.case_id)
            archive.write(image.path, names["image"])
            archive.write(mask.path, names["label"])
            pairs.append({**names, "id": label.case_id, "info": label_note(label, noted)})
        told = {"name": services.settings.name, "description": services.settings.description, "cases": pairs}
        archive.writestr("metadata.json", json.dumps(told, indent=2))


def image_note(row: CaseRow) -> dict[str, Any]:
    """The client-defined info of an image, overridden by the server's own values."""
    note = {
        **row.info,
        "ts": int(row.first_seen),
        "name": f"{row.case.id}.nii",
        "strategy": {name: dict(served) for name, served in row.served_by.items()},
    }
    if row.problem:
        note["problem"] = row.problem
    if row.case.warnings:
        note["warnings"] = list(row.case.warnings)
    return note


def dataset_names(case_id: str) -> dict[str, str]:
    """The file names of a case's image and label in `/datastore/dataset`."""
    stem = safe_name(case_id)
    return {"image": f"image/{stem}.nii", "label": f"label/{stem}.nii.gz"}


def label_note(label: Label, noted: Mapping[str, Any]) -> dict[str, Any]:
    """The info of a label. `label_info` and `label_names` are from the stored file, by position; the client's `idx` is
    ignored.

    `label_names` is an object because Slicer drops a label whose names are a list. `states` is segloop's own: what the
    label says of each of its structures; all others are not examined.

    Protocol: docs/protocols/monailabel.md, sections 7 and 8.4.
    """
    given = noted.get("label_info")
    entries = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
    kept_of = {entry.get("name"): entry for entry in entries if isinstance(entry.get("name"), str)}
    label_info = []
    for segment in label.segments:
        kept = kept_of.get(segment.name, {})
        color = {"color": list(segment.color)} if segment.color is not None else {}
        label_info.append({**color, **kept, "name": segment.name, "idx": segment.number})
    params = noted.get("params")
    return {
        **noted,
        "ts": int(label.created.timestamp()),
        "name": f"{label.case_id}.nii.gz",
        "client_id": label.author,
        "model": label.model,
        "version": label.number,
        "label_info": label_info,
        "states": dict(label.states),
        "params": {
            **(params if isinstance(params, dict) else {}),
            "label_names": {segment.name: segment.number for segment in label.segments},
        },
    }
