"""The file format of snapshots and states: a magic line, values, named bytes, and a checksum.

magic
8 bytes      length of the header, little endian
JSON         values, and under `parts` the name and length of each part
parts        one after the other
32 bytes     SHA-256 of everything before
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from app.errors import BadFile

_DIGEST_BYTES = 32


def framed(magic: bytes, values: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """Encode JSON values and named bytes."""
    header = {**values, "parts": [[name, len(part)] for name, part in parts.items()]}
    head = json.dumps(header, separators=(",", ":")).encode()
    content = b"".join([magic, struct.pack("<Q", len(head)), head, *parts.values()])
    return content + sha256(content).digest()


def unframed(magic: bytes, content: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The values and parts of `framed`. Raises `BadFile` for other or damaged bytes."""
    whole, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    if not content.startswith(magic) or sha256(whole).digest() != digest:
        raise BadFile("it is cut off or damaged, or another kind of file")
    try:
        (length,) = struct.unpack_from("<Q", whole, len(magic))
        start = len(magic) + 8
        values: dict[str, Any] = json.loads(whole[start : start + length])
        at = start + length
        parts: dict[str, bytes] = {}
        for name, size in values.pop("parts"):
            parts[name] = whole[at : at + size]
            at += size
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise BadFile(f"it can't be read: {error!r}") from error
    return values, parts
