"""Automatic segmentation on request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cachetools import LRUCache

from app.core.mask import Mask
from app.core.model import Option
from app.core.progress import ignore_progress
from app.core.volume import Index
from app.models.device import Device, Priority
from app.services.cases import CaseService
from app.services.models import ModelService

KEPT = 4
"""Masks kept to answer a repeated request: viewers ask again after a lost connection, and proxies cut long calls."""


class AutomaticService:
    """Runs automatic models on the device thread, below clicks in priority."""

    def __init__(self, cases: CaseService, models: ModelService, device: Device) -> None:
        self._cases = cases
        self._models = models
        self._device = device
        self._kept: LRUCache[tuple[Any, ...], Mask] = LRUCache(KEPT)
        self._lock = threading.Lock()

    def segment(self, model: str, case_id: str, options: Mapping[str, Option], who: str) -> Mask:
        """The mask of a case by an automatic model. Raises `ModelNotTrained`, `UnknownCase`, `UnknownModel`."""
        automatic = self._models.automatic(model)
        key = (self._cases.get(case_id).case, model, automatic.card.version, tuple(sorted(options.items())))

        def work() -> Mask:
            volume = self._cases.volume(case_id)
            return self._device.run(
                lambda: automatic.segment(volume, ignore_progress, options), Priority.AUTOMATIC, who
            )

        return self._remembered(key, work)

    def segment_with_points(
        self, model: str, case_id: str, points: Mapping[str, Sequence[Index]], options: Mapping[str, Option], who: str
    ) -> Mask:
        """The same for a model that takes points per label, `(k, j, i)`; "background" is a label too."""
        correctable = self._models.correctable(model)
        volume = self._cases.volume(case_id)
        return self._device.run(
            lambda: correctable.segment_with_points(volume, points, ignore_progress, options), Priority.PROMPT, who
        )

    def _remembered(self, key: tuple[Any, ...], work: Callable[[], Mask]) -> Mask:
        with self._lock:
            if key in self._kept:
                return self._kept[key]
        mask = work()
        with self._lock:
            self._kept[key] = mask
        return mask
