"""Forms: fields in memory, files streamed to disk while they are received.

Used by every dialect with forms (docs/protocols/monailabel.md, sections 5.1 and 8.3;
docs/protocols/itkit.md, section 2.5).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.errors import BadFile, BadInput
from app.http.bodies import MOST_VALUES, WRITE_BYTES, over

_ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".bin", ".json", ".zip", ".pt")
_MOST_PARTS = 10_000  # a series in a MONAI Label session has one for each of its images
_FIELD_BYTES = 16 * 2**20  # all fields together; a label_info with colours and codes for 200 structures takes 100 kB


@dataclass(frozen=True)
class Upload:
    """An uploaded file. `name` is the last component of the client's file name; it is never used as a path."""

    file: Path
    name: str

    @property
    def stem(self) -> str:
        """The name without its extension, if that is a known one: a UID has dots of its own (see
        docs/protocols/monailabel.md, section 1.11)."""
        return self.name[: len(self.name) - len(_ending(self.name))]


@dataclass
class Form:
    """A decoded form. Unknown fields and files are kept and ignored."""

    fields: dict[str, str] = field(default_factory=dict)
    uploads: dict[str, list[Upload]] = field(default_factory=dict)

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object in a field; `{}` if it is missing or empty. Raises `BadInput`."""
        text = self.fields.get(name, "").strip()
        if text.count(",") > MOST_VALUES:
            raise BadInput(f"the form field {name!r} has more than {MOST_VALUES} values")
        try:
            value = json.loads(text) if text else {}
        except (ValueError, RecursionError) as error:
            raise BadInput(f"the form field {name!r} should be a JSON object: {error}") from error
        if not isinstance(value, dict):
            raise BadInput(f"the form field {name!r} should be a JSON object")
        return value

    def upload(self, name: str) -> Upload | None:
        """The first file under a name; None if there is none."""
        return self.uploads.get(name, [None])[0]

    def needed(self, name: str) -> Upload:
        """The first file under a name. Raises `BadInput` if there is none."""
        upload = self.upload(name)
        if upload is None:
            raise BadInput(f"the form has no file {name!r}")
        return upload


@asynccontextmanager
async def received(request: Request, folder: Path, max_bytes: int) -> AsyncIterator[Form]:
    """Receive a request's form. Its files are below `folder` until the block ends; to keep one, move it.

    Raises `BadInput` for a malformed form, and `BadFile` for one of more than `max_bytes`.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    with tempfile.TemporaryDirectory(dir=folder, prefix="form-", ignore_cleanup_errors=True) as own:
        if kind == b"multipart/form-data":
            yield await _multipart(request, options.get(b"boundary", b""), Path(own), max_bytes)
        elif kind == b"application/x-www-form-urlencoded":
            yield Form(fields=dict(parse_qsl(await _text(request), keep_blank_values=True)))
        else:
            yield Form()


async def _multipart(request: Request, boundary: bytes, folder: Path, max_bytes: int) -> Form:
    parts = _Parts(folder)
    size = 0
    try:
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]  # its TypedDict wants all keys
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise BadFile(over(max_bytes))
            parser.write(chunk)
            if parts.waiting >= WRITE_BYTES:
                await run_in_threadpool(parts.write)
    except FormParserError as error:
        raise BadInput(f"the multipart form can't be read: {error}") from error
    await run_in_threadpool(parts.write)
    return parts.form


async def _text(request: Request) -> str:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FIELD_BYTES:
            raise BadInput("the form's fields are too long")
    return body.decode("utf-8", "replace")


def _ending(name: str) -> str:
    return next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")


class _Parts:
    """Receives the parser's callbacks. File contents are buffered; `write` appends them to the files."""

    def __init__(self, folder: Path) -> None:
        self.form = Form()
        self.waiting = 0
        self._folder = folder
        self._chunks: list[tuple[Path, bytes]] = []
        self._field_bytes = 0
        self._files = 0
        self._count = 0

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_header_begin": self._header_begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def write(self) -> None:
        for path, data in self._chunks:
            with path.open("ab") as stream:
                stream.write(data)
        self._chunks.clear()
        self.waiting = 0

    def _begin(self) -> None:
        self._count += 1
        if self._count > _MOST_PARTS:
            raise BadInput(f"the form has more than {_MOST_PARTS} parts")
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._file: Path | None = None
        self._value = bytearray()

    def _header_begin(self) -> None:
        self._key, self._content = bytearray(), bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._key += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def _header_end(self) -> None:
        self._headers[bytes(self._key).lower()] = bytes(self._content)

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        called = options.get(b"filename", b"").decode("utf-8", "replace")
        if not called:
            return
        # MONAI Label's clients send the whole local path, on Windows with backslashes
        # (docs/protocols/monailabel.md, section 1.11).
        name = called.replace("\\", "/").rsplit("/", 1)[-1]
        upload = Upload(self._folder / f"{self._files}{_ending(name)}", name)
        self._file = upload.file
        self._files += 1
        self._chunks.append((upload.file, b""))  # creates the file even if it is empty
        self.form.uploads.setdefault(self._name, []).append(upload)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._chunks.append((self._file, data[start:end]))
            self.waiting += end - start
            return
        self._field_bytes += end - start
        if self._field_bytes > _FIELD_BYTES:
            raise BadInput("the form's fields are too long")
        self._value += data[start:end]

    def _end(self) -> None:
        if self._file is None:
            self.form.fields[self._name] = self._value.decode("utf-8", "replace")
