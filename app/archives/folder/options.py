"""Options of a folder archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

IMAGE_MODALITIES = frozenset({"CT", "MR", "PT"})
"""Modalities whose series are cases. SEG, SR, PR, KO, RTSTRUCT and the like aren't images."""

VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class FolderOptions:
    """A folder of DICOM files in any layout and of volume files.

    `index` is the SQLite file of the folder index, which is recreated if it is deleted. Labels go to `labels_dir`, by
    default `labels` in the folder. `ignore` are patterns of relative paths to leave out (`*_seg.nii.gz`). `masks` are
    patterns of volume files that are masks and no cases (`volumes.matches`). `volume_modality` is that of volume files:
    CT, MR, PT, or "auto".
    """

    folder: Path
    index: Path
    labels_dir: Path | None = None
    ignore: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    volume_modality: str = "auto"
    max_bytes: int = 8 << 30
    """Limit for a decoded image."""
    fill_gaps: bool = False
    """Interpolate missing slices (with a warning) instead of refusing the series."""
    settle_seconds: float = 60.0
    """A series to which nothing was stored for so long is finished: what is stored later has to continue its volume."""

    @property
    def labels(self) -> Path:
        return self.labels_dir or self.folder / "labels"


def volume_stem(name: str) -> str | None:
    """A volume file's name without its extension; None for other files."""
    for ending in VOLUME_ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return None
