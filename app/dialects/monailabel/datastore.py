"""GET `/datastore/` (docs/protocols/monailabel.md, section 8.1): all images and labels at a glance."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter

from app.core.label import FINAL
from app.dialects.monailabel.notes import dataset_names, image_note, label_note
from app.dialects.monailabel.routes import route
from app.services import Services


def router(services: Services) -> APIRouter:
    api = APIRouter(tags=["datastore"])

    @route(api, "GET", "/datastore/")
    def datastore(output: Literal["stats", "all", "train"] = "stats") -> Any:
        """Counts; or everything; or the pairs that are trained on, by the names they have in `/datastore/dataset`."""
        if output == "all":
            return _everything(services)
        if output == "train":
            return [dataset_names(case_id) for case_id, tags in services.labels.overview().items() if FINAL in tags]
        total, completed = services.cases.counts()
        return {"total": total, "completed": completed, "label_tags": services.labels.counts()}

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
    # images_dir and labels_dir are part of the shape; where files lie here is nobody else's business.
    return {
        "name": settings.name,
        "description": settings.description,
        "images_dir": ".",
        "labels_dir": "labels",
        "objects": objects,
    }
