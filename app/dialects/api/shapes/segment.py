"""Automatic segmentation."""

from __future__ import annotations

from pydantic import BaseModel

from app.core.model import Option


class SegmentRequest(BaseModel):
    """Which automatic model to run."""

    model: str
    options: dict[str, Option] = {}


class SegmentShape(BaseModel):
    """What a model found: base64 of gzip of one byte a voxel, C order [k, j, i]; `labels` says which value is what."""

    shape: tuple[int, int, int]
    labels: dict[str, int]
    voxels: str
