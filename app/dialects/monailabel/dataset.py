"""GET `/datastore/dataset`: everything that is trained on, as one zip."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from app.core.label import FINAL
from app.dialects.monailabel.notes import dataset_names, label_note
from app.dialects.monailabel.routes import route
from app.services import Services
from app.workspace import Workspace


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["datastore"])
    incoming = Workspace(services.settings.workspace.absolute()).incoming

    @route(api, "GET", "/datastore/dataset")
    def dataset(limit_cases: int | None = None) -> FileResponse:
        """`image/`, `label/` and `metadata.json` of all cases with a final label, or of the first `limit_cases`."""
        # As a file first: its length is known, a client can resume, and a failure is still an error answer.
        with tempfile.NamedTemporaryFile(dir=incoming, prefix="dataset-", suffix=".zip", delete=False) as stream:
            file = Path(stream.name)
        try:
            _write(services, file, limit_cases)
        except BaseException:
            file.unlink()
            raise
        removed = BackgroundTask(file.unlink, missing_ok=True)
        return FileResponse(file, media_type="application/zip", filename="dataset.zip", background=removed)

    return api


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
