"""NIfTI-1 and NIfTI-2 headers: reading untrusted ones, and writing our own.

The layout is that of nifti1.h and nifti2.h (https://nifti.nimh.nih.gov). The transform is chosen as in ITK, which the
clients use: the sform if its code is 1 (scanner) or if there is no qform, else the qform; with neither, spacing only.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.volume import Geometry
from app.errors import BadFile
from app.formats.volume_header import VolumeHeader

NIFTI_DATA_OFFSET = 352
"""The offset of the voxels in files that we write: the header, and four bytes for "no extensions"."""

MAX_HEADER = 544

_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_NUMBERS = {np.dtype(name): number for number, name in _TYPES.items()}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def is_nifti(head: bytes) -> bool:
    return len(head) >= 4 and any(struct.unpack(order + "i", head[:4])[0] in (348, 540) for order in "<>")


def parse_nifti(head: bytes, *, inside: bool) -> VolumeHeader:
    """The header from the first bytes of the file, inflated if it is `inside` a gzip stream. Raises `BadFile`."""
    order = "<" if struct.unpack("<i", head[:4])[0] in (348, 540) else ">"
    two = struct.unpack(order + "i", head[:4])[0] == 540
    if len(head) < (MAX_HEADER if two else 348):
        raise BadFile("the NIfTI file ends within its header")
    magic = head[4:8] if two else head[344:348]
    if magic[:2] == b"ni":
        raise BadFile("the NIfTI header refers to another file for its voxels; send one .nii or .nii.gz file")
    if magic[:3] != (b"n+2" if two else b"n+1"):
        raise BadFile("not a NIfTI file: its magic number is missing")
    read = _Fields(head, order, two)
    dims = read.dims()
    if not 1 <= dims[0] <= 7 or min(dims[1 : dims[0] + 1]) < 1:
        raise BadFile(f"the NIfTI file declares the sizes {dims[1:]} in {dims[0]} dimensions")
    sizes = [*dims[1 : dims[0] + 1], *[1] * (7 - dims[0])]
    if max(sizes[4:]) > 1:
        raise BadFile("the NIfTI file has more than four dimensions")
    number = read.datatype()
    if number not in _TYPES:
        raise BadFile(f"the NIfTI file has voxels of type {number}; integers and real numbers can be read")
    offset = read.data_offset()
    if not (0 if inside else 348) <= offset < 1 << 31 or offset < len(head) // 348 * 348:
        raise BadFile(f"the NIfTI file declares that its voxels begin at byte {offset}")
    slope, intercept = read.scaling()
    return VolumeHeader(
        format="NIfTI",
        geometry=Geometry((sizes[2], sizes[1], sizes[0]), read.affine()),
        dtype=np.dtype(order + _TYPES[number]),
        offset=offset,
        encoding="gzip" if inside else "raw",
        inside=inside,
        layers=sizes[3],
        slope=slope,
        intercept=intercept,
    )


def nifti_header_bytes(geometry: Geometry, dtype: np.dtype[Any], layers: int = 1) -> bytes:
    """The first `NIFTI_DATA_OFFSET` bytes of a little endian NIfTI-1 file with this grid.

    The voxels follow in C order `(k, j, i)`, one layer after another. The transform is float32. A sheared grid (gantry
    tilt) has an sform only: a qform can't represent it, and ITK refuses such files. Raises `BadFile` for a type or a
    size that NIfTI-1 doesn't support.
    """
    from nibabel.nifti1 import Nifti1Header

    k, j, i = geometry.shape
    if np.dtype(dtype).newbyteorder("=") not in _NUMBERS or max(geometry.shape) > 32767:
        raise BadFile(f"voxels of type {dtype} on a grid of {i} x {j} x {k} can't be kept as NIfTI")
    header = Nifti1Header(endianness="<")
    header.set_data_dtype(np.dtype(dtype).newbyteorder("="))
    header.set_data_shape((i, j, k) if layers == 1 else (i, j, k, layers))
    header.set_zooms(geometry.spacing if layers == 1 else (*geometry.spacing, 1.0))
    header.set_xyzt_units("mm")
    header.set_slope_inter(1, 0)
    affine = _RAS_TO_LPS @ geometry.affine
    if np.allclose(geometry.direction.T @ geometry.direction, np.eye(3), atol=1e-5):
        header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header["magic"] = b"n+1"
    header["vox_offset"] = NIFTI_DATA_OFFSET
    return bytes(header.binaryblock) + bytes(4)


class _Fields:
    """Reads fields by their offsets in the two layouts."""

    def __init__(self, head: bytes, order: str, two: bool) -> None:
        self._head, self._order, self._two = head, order, two

    def _read(self, form: str, one: int, two: int) -> tuple[Any, ...]:
        return struct.unpack_from(self._order + form, self._head, two if self._two else one)

    def dims(self) -> tuple[int, ...]:
        return self._read("8q" if self._two else "8h", 40, 16)

    def datatype(self) -> int:
        return int(self._read("h", 70, 12)[0])

    def data_offset(self) -> int:
        offset = self._read("q" if self._two else "f", 108, 168)[0]
        if not np.isfinite(offset) or offset != int(offset):
            raise BadFile("the NIfTI file doesn't say where its voxels begin")
        return int(offset)

    def scaling(self) -> tuple[float, float]:
        """Slope and intercept; a slope of zero or NaN means no scaling."""
        slope, intercept = self._read("2d" if self._two else "2f", 112, 176)
        if not np.isfinite(slope) or slope == 0 or not np.isfinite(intercept):
            return 1.0, 0.0
        return float(slope), float(intercept)

    def affine(self) -> NDArray[np.float64]:
        """`(i, j, k, 1)` to LPS mm."""
        real, integer = ("d", "i") if self._two else ("f", "h")
        pixdim = np.array(self._read("8" + real, 76, 104), np.float64)
        (qform,) = self._read(integer, 252, 344)
        (sform,) = self._read(integer, 254, 348)
        spacing = np.abs(pixdim[1:4])
        spacing[~np.isfinite(spacing) | (spacing == 0)] = 1.0
        rows = np.array(self._read("12" + real, 280, 400), np.float64).reshape(3, 4)
        affine = np.eye(4)
        if sform > 0 and (qform <= 0 or (sform == 1 and _orthogonal(rows[:, :3]))):
            affine[:3] = rows
        elif qform > 0:
            quaternion = self._read("6" + real, 256, 352)
            affine[:3, :3] = _rotation(*quaternion[:3]) * spacing
            affine[:3, 2] *= -1 if pixdim[0] < 0 else 1
            affine[:3, 3] = quaternion[3:]
        else:
            # Without a transform ITK takes the axes as LPS.
            return np.diag([*spacing, 1.0])
        affine = _RAS_TO_LPS @ affine
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
            raise BadFile("the NIfTI file has an invalid transform")
        return affine


def _orthogonal(columns: NDArray[np.float64]) -> bool:
    lengths = np.linalg.norm(columns, axis=0)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        return False
    unit = columns / lengths
    return bool(np.allclose(unit.T @ unit, np.eye(3), atol=1e-3))


def _rotation(b: float, c: float, d: float) -> NDArray[np.float64]:
    """The rotation matrix of a unit quaternion without its real part (nifti1.h, method 2)."""
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
