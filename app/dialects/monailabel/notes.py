"""What is told about an image and a label: what clients noted, and on top of it what is so.

Protocol: docs/protocols/monailabel.md, section 8.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.case import CaseRow
from app.core.label import Label
from app.workspace import safe_name


def image_note(row: CaseRow) -> dict[str, Any]:
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
    """What the image and the label of a case are called in `/datastore/dataset`."""
    stem = safe_name(case_id)
    return {"image": f"image/{stem}.nii", "label": f"label/{stem}.nii.gz"}


def label_note(label: Label, noted: Mapping[str, Any]) -> dict[str, Any]:
    """`label_info` and `label_names` are those of the stored file, by position, whatever `idx` a client wrote.

    `label_names` is an object because Slicer drops a label whose names are a list.

    Protocol: docs/protocols/monailabel.md, sections 7 and 8.4.
    """
    given = noted.get("label_info")
    entries = given if isinstance(given, list) and len(given) == len(label.segments) else [{}] * len(label.segments)
    label_info = []
    for entry, segment in zip(entries, label.segments, strict=True):
        kept = dict(entry) if isinstance(entry, dict) else {}
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
        "params": {
            **(params if isinstance(params, dict) else {}),
            "label_names": {segment.name: segment.number for segment in label.segments},
        },
    }
