"""Answers of every media type as plain values (dicts, lists, text, numbers), so that two of them can be compared.

What is compressed is compared unpacked, and what is large by length and SHA-256.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import zipfile
import zlib
from email.message import Message
from html.parser import HTMLParser
from typing import Any

import pydicom

PACKED_KEYS = frozenset({"voxels", "result"})
"""JSON fields with base64 of gzip (ITK-SNAP's masks, and those of `/api/v1`)."""

_TEXT = ("text/", "application/javascript", "image/svg", "application/dicom+xml", "application/xml")


def described(content: bytes, content_type: str = "") -> Any:
    """A body, or a part of one. The content decides, and the type only where the content doesn't tell."""
    if not content:
        return None
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        return {"parts": _parts(content, content_type)}
    if kind.endswith("json"):
        try:
            return _json(json.loads(content))
        except ValueError:
            return {"no json": _digest(content)}
    if kind == "text/event-stream":
        return [_event(block) for block in content.decode().split("\n\n") if block]
    if kind == "text/html":
        return _html(content.decode())
    if kind.startswith(_TEXT):
        return {"text": content.decode("utf-8", "replace")}
    return _by_content(content)


def _by_content(content: bytes) -> Any:
    if content[:2] == b"\x1f\x8b":
        try:
            return {"gzip": _by_content(gzip.decompress(content))}
        except (OSError, EOFError, zlib.error):
            return {"damaged gzip": _digest(content)}
    if content[:4] == b"NRRD":
        header, _, voxels = content.partition(b"\n\n")
        return {"nrrd": header.decode().splitlines(), "voxels": _by_content(voxels)}
    if content[128:132] == b"DICM":
        return _dicom(content)
    if content[:4] == b"NNIA":
        return _packed_array(content)
    if content[:2] == b"PK":
        return {"zip": _zip(content)}
    return _digest(content)


def _digest(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _zip(content: bytes) -> dict[str, Any]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    if any(name.endswith("/data.pkl") for name in files):
        # PyTorch's: the folder in it is named like the file was when it was written, and an id depends on that.
        files = {name.partition("/")[2]: data for name, data in files.items() if not name.endswith("serialization_id")}
    return {name: described(data, "application/json" if name.endswith(".json") else "") for name, data in files.items()}


def _json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _packed(one) if key in PACKED_KEYS else _json(one) for key, one in value.items()}
    return [_json(one) for one in value] if isinstance(value, list) else value


def _packed(value: Any) -> Any:
    try:
        return {"base64": _by_content(base64.b64decode(value, validate=True))}
    except (TypeError, ValueError):
        return _json(value)


def _parts(content: bytes, content_type: str) -> list[dict[str, Any]]:
    """Of a multipart body. `email` is not used: it changes line ends inside binary parts."""
    message = Message()
    message["Content-Type"] = content_type
    delimiter = b"--" + str(message.get_param("boundary")).encode()
    pieces = (b"\r\n" + content).split(b"\r\n" + delimiter)
    found = []
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            continue
        head, _, body = piece.partition(b"\r\n\r\n")
        lines = (line.partition(b":") for line in head.split(b"\r\n") if line)
        headers = {name.decode().lower(): value.strip().decode() for name, _, value in lines}
        headers.pop("content-length", None)  # of a body that may be compressed
        found.append({"headers": headers, "body": described(body, headers.get("content-type", ""))})
    return [*found, {"closed": pieces[-1].startswith(b"--")}]


def _event(block: str) -> dict[str, Any]:
    fields = dict(line.partition(": ")[::2] for line in block.splitlines())
    return {**fields, "data": _json(json.loads(fields["data"]))} if "data" in fields else fields


def _dicom(content: bytes) -> dict[str, Any]:
    dataset = pydicom.dcmread(io.BytesIO(content))

    def bulk(element: Any) -> str:
        return str(_digest(element.value if isinstance(element.value, bytes) else str(element.value).encode()))

    elements = dataset.to_json_dict(bulk_data_threshold=64, bulk_data_element_handler=bulk)
    meta = dataset.file_meta.to_json_dict(256, bulk)
    meta.pop("00020000", None)  # its length, which depends on that of a random UID
    return {"dicom": elements, "meta": meta}


def _packed_array(content: bytes) -> dict[str, Any]:
    from nnInteractive.inference.remote.serialization import unpack_array

    array = unpack_array(content)
    return {"array": str(array.dtype), "shape": list(array.shape), "voxels": _digest(array.tobytes())}


def _html(text: str) -> list[Any]:
    reader = _Elements()
    reader.feed(text)
    return reader.found


class _Elements(HTMLParser):
    """A page as a list of elements with their attributes, and of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append({"element": tag, **dict(attrs)})

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.found.append({"text": " ".join(data.split())})
