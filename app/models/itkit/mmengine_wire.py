"""What the server and a process that runs MMEngine models say to each other over two pipes.

A message is the length of its header (4 bytes, little endian), the header (a JSON object), and the arrays that the
header's `arrays` list, `[type, shape]` each, as raw bytes in C order. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_MOST_HEADER = 2**20
_MOST_BYTES = 2**34
_TYPES: dict[str, np.dtype[Any]] = {"<f4": np.dtype("<f4"), "|u1": np.dtype("|u1")}


class Garbled(Exception):
    """The other side sent what is no message, or ended in the middle of one."""


@dataclass(frozen=True, eq=False)
class Message:
    """`says` is what kind of message it is, `values` its other fields."""

    says: str
    values: Mapping[str, Any]
    arrays: Sequence[NDArray[Any]] = ()


def send(stream: BinaryIO, message: Message) -> None:
    arrays = [np.ascontiguousarray(array) for array in message.arrays]
    if any(array.dtype.str not in _TYPES for array in arrays):
        raise ValueError("only float32 and uint8 arrays are sent")
    listed = [[array.dtype.str, array.shape] for array in arrays]
    header = json.dumps({"says": message.says, "values": message.values, "arrays": listed}).encode()
    stream.write(struct.pack("<I", len(header)) + header)
    for array in arrays:
        stream.write(array.data)
    stream.flush()


def receive(stream: BinaryIO) -> Message | None:
    """The next message; None if the other side is done. Raises `Garbled`."""
    start = stream.read(4)
    if not start:
        return None
    if len(start) < 4 or struct.unpack("<I", start)[0] > _MOST_HEADER:
        raise Garbled("no message")
    text = bytes(_filled(stream, struct.unpack("<I", start)[0]))
    try:
        header = json.loads(text)
        shapes: list[tuple[np.dtype[Any], tuple[int, ...]]] = [
            (_TYPES[kind], tuple(int(n) for n in shape)) for kind, shape in header["arrays"]
        ]
        says, values = str(header["says"]), dict(header["values"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Garbled("no header") from error
    if any(min(shape, default=0) < 1 or dtype.itemsize * prod(shape) > _MOST_BYTES for dtype, shape in shapes):
        raise Garbled("no array")
    arrays = [_filled(stream, dtype.itemsize * prod(shape)).view(dtype).reshape(shape) for dtype, shape in shapes]
    return Message(says, values, arrays)


def _filled(stream: BinaryIO, count: int) -> NDArray[np.uint8]:
    data = np.empty(count, np.uint8)
    view, done = data.data, 0
    while done < count:
        read = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not read:
            raise Garbled("cut off")
        done += read
    return data
