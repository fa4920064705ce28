"""A look into an ONNX file before onnxruntime opens it.

An ONNX file may say that its weights lie in other files; onnxruntime then reads whatever is named. So the file is
walked through here first, by the numbers of onnx.proto3 (https://github.com/onnx/onnx), for any tensor that is kept
elsewhere. Weights are skipped, not read, so this takes no time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from app.errors import BadFile

Message = Literal["model", "graph", "node", "attribute", "tensor", "sparse", "training", "function"]

_PARTS: dict[Message, dict[int, Message]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": {},
    "sparse": {1: "tensor", 2: "tensor"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
}
"""Which field of which message holds messages in which there may be tensors."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_DEEPEST = 64  # graphs in attributes of nodes of graphs


def refuse_other_files(content: bytes) -> None:
    """Raises `BadFile` for an ONNX model with a tensor in another file, and for what is no ONNX file."""
    _walk(memoryview(content), "model", 0)


def _walk(data: memoryview, message: Message, depth: int) -> None:
    if depth > _DEEPEST:
        raise BadFile("the ONNX file's graphs lie too deep in each other")
    for number, value in _fields(data):
        if message == "tensor" and number in (_EXTERNAL_DATA, _DATA_LOCATION) and value not in (0, b""):
            raise BadFile("the ONNX file keeps weights in other files; save it as one file, without external data")
        part = _PARTS[message].get(number)
        if part is not None and isinstance(value, memoryview):
            _walk(value, part, depth + 1)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values, in the wire format of protocol buffers."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise BadFile("this is not an ONNX file, or it is damaged")
        if length > len(data) - at:
            raise BadFile("this is not an ONNX file, or it was cut off")
        yield key >> 3, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where the next byte is."""
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise BadFile("this is not an ONNX file, or it was cut off")
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise BadFile("this is not an ONNX file, or it is damaged")
