"""Images as the wire has them, NIfTI, and as everything else here has them: `(k, j, i)` with an LPS affine."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Geometry, Volume

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GZIP = b"\x1f\x8b"


def from_nifti(data: bytes) -> Volume:
    """The volume in a NIfTI file, compressed or not."""
    import nibabel

    image: Any = nibabel.Nifti1Image.from_bytes(gzip.decompress(data) if data.startswith(_GZIP) else data)
    voxels = np.ascontiguousarray(np.asarray(image.dataobj, np.float32).transpose(2, 1, 0))
    k, j, i = voxels.shape
    return Volume(voxels, Geometry((k, j, i), _RAS_TO_LPS @ image.affine))


def to_nifti(voxels: NDArray[np.generic], geometry: Geometry) -> bytes:
    """A compressed NIfTI file; the same voxels give the same bytes."""
    import nibabel

    image: Any = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), _RAS_TO_LPS @ geometry.affine)
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
