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

CACHED_MASKS = 4
"""Masks cached for retries: viewers repeat a request after a lost connection, and proxies cut off long ones."""


class AutomaticService:
    """Runs automatic models on the device thread, below clicks in priority."""

    def __init__(self, cases: CaseService, models: ModelService, device: Device) -> None:
        self._cases = cases
        self._models = models
        self._device = device
        self._cache: LRUCache[tuple[Any, ...], Mask] = LRUCache(CACHED_MASKS)
        self._lock = threading.Lock()

    def segment(self, model: str, case_id: str, options: Mapping[str, Option], who: str) -> Mask:
        """Segment a case with an automatic model; a repeated request gets the cached mask, and a case that the served
        version has scored its pre-annotation.

        Raises `ModelNotTrained`, `UnknownCase`, `UnknownModel`.
        """
        automatic = self._models.automatic(model)
        case, version = self._cases.get(case_id).case, automatic.card.version
        key = (case, model, version, tuple(sorted(options.items())))

        def work() -> Mask:
            volume = self._cases.volume(case_id)
            if not options:
                kept = self._cases.project.preannotations.get(case, model, version, volume.geometry)
                if kept is not None:
                    return kept
            return self._device.run(
                lambda: automatic.segment(volume, ignore_progress, options), Priority.AUTOMATIC, who
            )

        return self._cached(key, work)

    def segment_with_points(
        self, model: str, case_id: str, points: Mapping[str, Sequence[Index]], options: Mapping[str, Option], who: str
    ) -> Mask:
        """Segment a case with a model that takes points `(k, j, i)` per label; "background" is a label too.

        Not cached. Raises `ModelNotTrained`, `NotSupported`, `UnknownCase`, `UnknownModel`.
        """
        correctable = self._models.correctable(model)
        volume = self._cases.volume(case_id)
        return self._device.run(
            lambda: correctable.segment_with_points(volume, points, ignore_progress, options), Priority.PROMPT, who
        )

    def _cached(self, key: tuple[Any, ...], work: Callable[[], Mask]) -> Mask:
        with self._lock:
            if key in self._cache:
                return self._cache[key]
        mask = work()
        with self._lock:
            self._cache[key] = mask
        return mask
