"""What the served models answer about unlabelled cases, kept by the scoring job for whoever opens such a case.

One file for each case and model, in the cache: losing it costs a prediction. A file is of one version of the model, and
of the case's images as they were.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from app.core.case import Case
from app.core.mask import Mask
from app.core.volume import Geometry
from app.workspace import safe_name


class PreAnnotations:
    """Masks of one layer below `folder`. Several processes may use it: files are renamed into place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, case: Case, model: str, version: str, mask: Mask) -> None:
        """Keep a mask, instead of those that other versions made of the case."""
        file = self._file(case.id, model, version)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.partial")
        names = np.array([segment.name for segment in mask.segments], np.str_)
        with partial.open("wb") as stream:
            np.savez_compressed(stream, labelmap=mask.labelmap(), names=names, stamp=np.array(case.stamp, np.str_))
        partial.rename(file)

    def get(self, case: Case, model: str, version: str, geometry: Geometry) -> Mask | None:
        """The mask that this version made of the case as it is now, on its grid; None if there is none."""
        try:
            with np.load(self._file(case.id, model, version), allow_pickle=False) as stored:
                if str(stored["stamp"]) != case.stamp:
                    return None
                return Mask.single(stored["labelmap"], [str(name) for name in stored["names"]], geometry)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            return None  # it isn't there, or damaged: the model can be asked instead

    def prune(self, model: str, version: str, case_ids: Iterable[str]) -> None:
        """Remove what isn't of this version and one of these cases."""
        folder = self._folder / safe_name(model)
        kept = {self._file(case_id, model, version).name for case_id in case_ids}
        for file in folder.iterdir() if folder.is_dir() else ():
            if file.name not in kept:
                with suppress(FileNotFoundError):
                    file.unlink()

    def _file(self, case_id: str, model: str, version: str) -> Path:
        name = hashlib.sha256(f"{case_id}\n{version}".encode()).hexdigest()[:32]
        return self._folder / safe_name(model) / f"{name}.npz"
