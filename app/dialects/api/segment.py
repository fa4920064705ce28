"""Automatic segmentation on request."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter

from app.dialects.api.people import Asking
from app.dialects.api.shapes.segment import SegmentRequest, SegmentShape
from app.dialects.api.voxels import gzipped
from app.errors import NotSupported
from app.services import Services


def add(api: APIRouter, services: Services) -> None:
    @api.post("/cases/{case_id}/segment", summary="Segment a case without prompts")
    def segmented(case_id: str, asked: SegmentRequest, asking: Asking) -> SegmentShape:
        """Answers when the model is done; clicks of anybody go first. Nothing is kept."""
        mask = services.automatic.segment(asked.model, case_id, asked.options, asking.who)
        if len(mask.segments) > 255:
            raise NotSupported("answers have one byte a voxel, so at most 255 structures")
        return SegmentShape(
            shape=mask.geometry.shape,
            labels={segment.name: segment.number for segment in mask.segments},
            voxels=gzipped(mask.labelmap().astype(np.uint8, copy=False)),
        )
