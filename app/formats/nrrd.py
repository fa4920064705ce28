"""NRRD headers, read and written (https://teem.sourceforge.net/nrrd/format.html): attached, raw or gzip, three spatial
axes.

Detached data (`data file`) are refused: a path in an untrusted file is never opened.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from app.core.volume import Geometry
from app.errors import BadFile
from app.formats.volume_header import Encoding, VolumeHeader

MAX_HEADER = 1 << 20

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPE_OF = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS: dict[str, Encoding] = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
# The signs of the space's axes in LPS.
_SPACES = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
    "": (1, 1, 1),
}
_NUMBER = r"[-+0-9.eE]+"


def is_nrrd(head: bytes) -> bool:
    return head.startswith(b"NRRD000")


def parse_nrrd(head: bytes) -> VolumeHeader:
    """The header from the first `MAX_HEADER` bytes of the file. Raises `BadFile`."""
    fields, offset = _fields(head)
    for refused in ("data file", "datafile", "line skip", "lineskip", "byte skip", "byteskip"):
        if fields.get(refused, "0").strip() != "0":
            raise BadFile(f"the NRRD header has a field '{refused}'; send one file that holds its own voxels")
    encoding = fields.get("encoding", "").lower()
    if encoding not in _ENCODINGS:
        raise BadFile(f"the NRRD file is encoded as {encoding[:32]!r}; raw and gzip can be read")
    code = _TYPE_OF.get(fields.get("type", "").lower())
    if code is None:
        raise BadFile(f"the NRRD file has voxels of type {fields.get('type', '')[:32]!r}")
    sizes = _integers(fields, "sizes")
    if fields.get("dimension") != str(len(sizes)) or len(sizes) not in (3, 4) or min(sizes) < 1:
        raise BadFile(f"the NRRD file declares the sizes {sizes[:8]} in {fields.get('dimension', '')[:8]} dimensions")
    spatial, affine = _axes(fields, len(sizes))
    first = len(sizes) == 4 and spatial == [1, 2, 3]
    if spatial not in ([0, 1, 2], [1, 2, 3]):
        raise BadFile("the NRRD file's axes aren't three of space with at most one of components before or after them")
    i, j, k = (sizes[axis] for axis in spatial)
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "little").lower(), "<")
    return VolumeHeader(
        format="NRRD",
        geometry=Geometry((k, j, i), affine),
        dtype=np.dtype(order + code),
        offset=offset,
        encoding=_ENCODINGS[encoding],
        layers=1 if len(sizes) == 3 else sizes[0 if first else 3],
        layers_first=first,
        fields=fields,
    )


def _fields(head: bytes) -> tuple[dict[str, str], int]:
    """Fields (`name: value`, names in lower case) and key/value pairs (`Key:=value`), and the offset of the data."""
    end = re.search(rb"\r?\n\r?\n", head[:MAX_HEADER])
    if end is None:
        raise BadFile("the NRRD header has no end; a header whose voxels are in another file can't be read")
    fields: dict[str, str] = {}
    for line in head[: end.start()].decode("utf-8", "replace").splitlines()[1:]:
        if line.startswith("#"):
            continue
        pair = re.match(r"([^:]+):=(.*)", line)
        field = re.match(r"([^:]+): ?(.*)", line)
        if pair:
            fields[pair[1]] = pair[2].replace("\\n", "\n").replace("\\\\", "\\")
        elif field:
            fields[field[1].strip().lower()] = field[2].strip()
        else:
            raise BadFile(f"the NRRD header has a line that is not a field: {line[:64]!r}")
    return fields, end.end()


def _axes(fields: dict[str, str], dimension: int) -> tuple[list[int], NDArray[np.float64]]:
    """The spatial axes, and the affine from `(i, j, k, 1)` to LPS mm."""
    space = fields.get("space", "").lower()
    if space not in _SPACES or fields.get("space dimension", "3") != "3":
        raise BadFile(f"the NRRD file's space is {space[:40]!r}; LPS, RAS and LAS can be read")
    affine = np.eye(4)
    if "space directions" in fields:
        # Without "(" inside a vector, no character is looked at from more than one opening bracket.
        vectors = re.findall(r"none|\([^()]*\)", fields["space directions"].lower())
        spatial = [axis for axis, vector in enumerate(vectors) if vector != "none"]
        if len(vectors) != dimension or len(spatial) != 3:
            raise BadFile("the NRRD file doesn't give a direction for each of three spatial axes")
        for column, axis in enumerate(spatial):
            affine[:3, column] = _vector(vectors[axis])
    else:
        spacings = fields.get("spacings", "").split() or ["1"] * dimension
        kinds = fields.get("kinds", "").lower().split()
        spatial = [a for a in range(dimension) if not kinds or kinds[a : a + 1] in (["domain"], ["space"])]
        if len(spacings) != dimension or len(spatial) != 3:
            raise BadFile("the NRRD file doesn't say which three of its axes are spatial")
        for column, axis in enumerate(spatial):
            affine[column, column] = _number(spacings[axis])
    if "space origin" in fields:
        affine[:3, 3] = _vector(fields["space origin"])
    affine[:3] *= np.array(_SPACES[space])[:, None]
    if abs(np.linalg.det(affine)) < 1e-12:
        raise BadFile("the NRRD file's axes are linearly dependent")
    return spatial, affine


def _vector(text: str) -> list[float]:
    numbers = [_number(part) for part in text.strip("() ").split(",")]
    if len(numbers) != 3:
        raise BadFile(f"the NRRD header has a vector {text[:64]!r}")
    return numbers


def _number(text: str) -> float:
    if not re.fullmatch(_NUMBER, text.strip()):
        raise BadFile(f"the NRRD header has a number {text[:32]!r}")
    try:
        number = float(text)
    except ValueError as error:
        raise BadFile(f"the NRRD header has a number {text[:32]!r}") from error
    if not np.isfinite(number):
        raise BadFile(f"the NRRD header has a number {text[:32]!r}")
    return number


def _integers(fields: dict[str, str], name: str) -> list[int]:
    texts = fields.get(name, "").split()
    if not texts or not all(re.fullmatch(r"\d{1,10}", text) for text in texts):
        raise BadFile(f"the NRRD header has the {name} {fields.get(name, '')[:64]!r}")
    return [int(text) for text in texts]


_WRITTEN_TYPES = {
    "u1": "unsigned char",
    "u2": "unsigned short",
    "i1": "signed char",
    "i2": "short",
    "i4": "int",
    "u4": "unsigned int",
    "i8": "longlong",
    "u8": "ulonglong",
    "f4": "float",
    "f8": "double",
}


def nrrd_header(
    geometry: Geometry,
    dtype: DTypeLike = np.uint8,
    encoding: Literal["raw", "gzip"] = "raw",
    *,
    layers: int = 1,
    pairs: Mapping[str, str] | None = None,
) -> bytes:
    """The header of a file with attached data (NRRD0004), as Slicer, ITK and OHIF read it.

    It goes up to and with the blank line; the voxels follow, i fastest, raw little-endian or as one gzip stream. With
    several `layers` these are the first, fastest axis. `pairs` are key/value pairs. Numbers are written so that reading
    gives back the same float64. Raises `BadFile` for a type that NRRD hasn't got.
    """
    code = np.dtype(dtype).str[1:]
    if code not in _WRITTEN_TYPES:
        raise BadFile(f"voxels of type {np.dtype(dtype)} can't be kept as NRRD")
    k, j, i = geometry.shape
    directions = " ".join(_written(geometry.affine[:3, axis]) for axis in range(3))
    several = layers > 1
    lines = (
        "NRRD0004",
        f"type: {_WRITTEN_TYPES[code]}",
        f"dimension: {4 if several else 3}",
        "space: left-posterior-superior",
        f"sizes: {layers} {i} {j} {k}" if several else f"sizes: {i} {j} {k}",
        f"space directions: none {directions}" if several else f"space directions: {directions}",
        "kinds: list domain domain domain" if several else "kinds: domain domain domain",
        "endian: little",
        f"encoding: {encoding}",
        f"space origin: {_written(geometry.affine[:3, 3])}",
        *(f"{key}:={_escaped(value)}" for key, value in (pairs or {}).items()),
    )
    return ("\n".join(lines) + "\n\n").encode("utf-8")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\r", " ").replace("\n", "\\n")


def _written(values: np.typing.NDArray[np.float64]) -> str:
    return "(" + ",".join(repr(float(v)) for v in values) + ")"
