"""What there is to say about a folder of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

IMAGE_MODALITIES = frozenset({"CT", "MR", "PT"})
"""Modalities whose series are cases. SEG, SR, PR, KO, RTSTRUCT and the like are about images, they are none."""

VOLUME_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class FolderOptions:
    """A folder of DICOM in any layout and of volume files, and where what belongs to it is kept.

    `index` is the SQLite file of what was found (it can be deleted at any time, it is made again). Labels go to
    `labels_dir`, or into `labels` in the folder. `ignore` are patterns of relative paths (`*_seg.nii.gz`) to leave out.
    """

    folder: Path
    index: Path
    labels_dir: Path | None = None
    ignore: tuple[str, ...] = ()
    max_bytes: int = 8 << 30
    """The largest image that is read, decoded."""
    fill_gaps: bool = False
    """Interpolate missing slices (with a warning) instead of refusing the series."""

    @property
    def labels(self) -> Path:
        return self.labels_dir or self.folder / "labels"


def volume_stem(name: str) -> str | None:
    """A volume file's name without its ending; None if it is the name of something else."""
    for ending in VOLUME_ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return None
