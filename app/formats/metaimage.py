"""MetaImage headers, read and written (.mha; https://itk.org/Wiki/MetaIO/Documentation): voxels in the same file, raw
or zlib.

`ElementDataFile` may name other files, which are never read: only LOCAL is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from app.core.volume import Geometry
from app.errors import BadFile
from app.formats.volume_header import VolumeHeader

MAX_HEADER = 1 << 16

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_FIELD = re.compile(rb"([A-Za-z]+)[ \t]*=([^\r\n]*)\r?\n")


def is_metaimage(head: bytes) -> bool:
    return re.match(rb"(ObjectType|NDims|Comment|ObjectSubType|ID|Name|BinaryData)[ \t]*=", head) is not None


def parse_metaimage(head: bytes) -> VolumeHeader:
    """The header from the first `MAX_HEADER` bytes of the file. Raises `BadFile`."""
    fields, offset = _fields(head)
    if fields["ElementDataFile"] != "LOCAL":
        raise BadFile("the MetaImage header names another file for its voxels; send one .mha file (LOCAL)")
    if fields.get("NDims") != "3" or fields.get("ElementNumberOfChannels", "1") != "1":
        raise BadFile("the MetaImage file isn't a volume of three dimensions with one value per voxel")
    if fields.get("HeaderSize", "0") not in ("0", "-1") or _false(fields.get("BinaryData", "True")):
        raise BadFile("the MetaImage file's voxels aren't binary right after its header")
    code = _TYPES.get(fields.get("ElementType", ""))
    if code is None:
        raise BadFile(f"the MetaImage file has voxels of type {fields.get('ElementType', '')[:32]!r}")
    i, j, k = (int(n) for n in _numbers(fields, ("DimSize",), 3, "0 0 0"))
    if min(i, j, k) < 1:
        raise BadFile(f"the MetaImage file declares the sizes {i} x {j} x {k}")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    # The rows of the matrix are the directions of i, j and k.
    axes = np.array(_numbers(fields, ("TransformMatrix", "Rotation", "Orientation"), 9, "1 0 0 0 1 0 0 0 1"))
    affine = np.eye(4)
    affine[:3, :3] = axes.reshape(3, 3).T * _numbers(fields, ("ElementSpacing",), 3, "1 1 1")
    affine[:3, 3] = _numbers(fields, ("Offset", "Position", "Origin"), 3, "0 0 0")
    if abs(np.linalg.det(affine)) < 1e-12:
        raise BadFile("the MetaImage file's axes are linearly dependent")
    return VolumeHeader(
        format="MetaImage",
        geometry=Geometry((k, j, i), affine),
        dtype=np.dtype(("<" if _false(big) else ">") + code),
        offset=offset,
        encoding="raw" if _false(fields.get("CompressedData", "False")) else "zlib",
        fields=fields,
    )


def metaimage_header(geometry: Geometry, dtype: np.dtype[Any], packed_bytes: int) -> bytes:
    """The header of a file with this grid, whose voxels follow as a zlib stream of `packed_bytes`, i fastest, little
    endian. `dtype` is one of unsigned integers.

    Numbers are written so that reading gives back the same float64.
    """
    code = next(name for name, kind in _TYPES.items() if kind == np.dtype(dtype).str[1:])
    k, j, i = geometry.shape
    fields = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "CompressedDataSize": str(packed_bytes),
        "TransformMatrix": _written(geometry.direction.T.ravel()),
        "Offset": _written(geometry.origin),
        "ElementSpacing": _written(geometry.spacing),
        "DimSize": f"{i} {j} {k}",
        "ElementType": code,
        "ElementDataFile": "LOCAL",
    }
    return "".join(f"{name} = {value}\n" for name, value in fields.items()).encode("ascii")


def _written(values: Iterable[float]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _fields(head: bytes) -> tuple[dict[str, str], int]:
    """The fields up to ElementDataFile, the last one, and the offset of the data."""
    fields: dict[str, str] = {}
    at = 0
    while "ElementDataFile" not in fields:
        line = _FIELD.match(head, at)
        if line is None:
            raise BadFile("the MetaImage header has a line that is not a field, or no ElementDataFile")
        fields[line[1].decode("ascii")] = line[2].decode("utf-8", "replace").strip()
        at = line.end()
    return fields, at


def _numbers(fields: dict[str, str], names: tuple[str, ...], count: int, default: str) -> list[float]:
    text = next((fields[name] for name in names if name in fields), default)
    try:
        numbers = [float(part) for part in text.split()]
    except ValueError as error:
        raise BadFile(f"the MetaImage header has {names[0]} = {text[:64]!r}") from error
    if len(numbers) != count or not np.isfinite(numbers).all() or max(map(abs, numbers)) > 1e9:
        raise BadFile(f"the MetaImage header has {names[0]} = {text[:64]!r}")
    return numbers


def _false(text: str) -> bool:
    return text.lower() in ("false", "0")
