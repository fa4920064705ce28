"""Instances that are DICOM files: headers as JSON, frames, rendered images.

Pixel offsets of files and the JSON of series are cached in memory, keyed by the files' sizes and modification times: a
frame costs one read of its bytes, and a changed file is read again.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Generic, TypeVar

from cachetools import LRUCache

from app.core.archive import DicomFiles, StoredFile
from app.dicom.frame_decoding import NATIVE, decoded_frame, explicit_little_endian, frame_values
from app.dicom.json_encoding import JsonEncoder, bulk_value, with_root
from app.dicom.pixel_layout import PixelLayout, read_header, read_layout
from app.dicom.rendering import Rendering, render
from app.errors import BadFile, Conflict, NotFound

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """An LRU cache of at most `max_bytes`. Thread-safe; two threads may compute the same value at the same time."""

    def __init__(self, max_bytes: int, size_of: Callable[[Value], int]) -> None:
        self._lock = threading.Lock()
        self._values: LRUCache[Hashable, Value] = LRUCache(max_bytes, getsizeof=size_of)

    def get(self, key: Hashable, make: Callable[[], Value], holds: Callable[[Value], bool] | None = None) -> Value:
        """The cached value of a key, made if it is missing or `holds` says that it is stale.

        A value larger than `max_bytes` isn't cached.
        """
        with self._lock:
            found = self._values.get(key)
        if found is not None and (holds is None or holds(found)):
            return found
        value = make()
        with self._lock:
            self._values.pop(key, None)
            if self._values.getsizeof(value) <= self._values.maxsize:
                self._values[key] = value
        return value


@dataclass(frozen=True)
class FileSlice:
    """`length` bytes of an open file, from byte `start`. The caller closes the file."""

    file: FileIO
    start: int
    length: int

    def read(self) -> bytes:
        return os.pread(self.file.fileno(), self.length, self.start)


JSON_BYTES = 256 << 20
LAYOUT_BYTES = 64 << 20
INSTANCE_BYTES = 64 << 20
IMPLICIT = "1.2.840.10008.1.2"
"""The transfer syntax of a file that doesn't name one (PS3.5 10.1)."""
BIG_ENDIAN = "1.2.840.10008.1.2.2"


@dataclass(frozen=True)
class FileInstance:
    """One instance. `size` is its file's, in bytes; `stamp` changes when the file does."""

    file: StoredFile
    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, file: StoredFile, status: os.stat_result) -> FileInstance:
        return cls(file, status.st_size, status.st_mtime_ns, status.st_ino)

    def is_unchanged(self) -> bool:
        """Whether its file is still the same."""
        try:
            return FileInstance.of(self.file, os.stat(self.path)) == self
        except OSError:
            return False

    @property
    def stamp(self) -> str:
        return f"{self.size:x}-{self.mtime_ns:x}"

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def series(self) -> str:
        return self.file.series

    @property
    def syntax(self) -> str:
        return self.file.syntax or IMPLICIT

    @property
    def is_native(self) -> bool:
        """Whether its pixels are stored uncompressed."""
        return self.syntax in NATIVE

    @property
    def address(self) -> str:
        """Relative to the root of the service."""
        return f"studies/{self.file.study}/series/{self.file.series}/instances/{self.file.sop}"


@dataclass(frozen=True)
class Metadata:
    """Instances as a JSON array, with relative URLs that `with_root` completes."""

    stamp: str
    encoded: bytes

    def at(self, root: str) -> bytes:
        return with_root(self.encoded, root.encode())


class FileInstances:
    """Reads the DICOM files of a folder index. Thread-safe. Every method raises `NotFound` for a missing resource, and
    `BadFile` for a damaged file."""

    def __init__(self, client: DicomFiles) -> None:
        self._client = client
        self._metadata: ByteCache[Metadata] = ByteCache(JSON_BYTES, lambda kept: len(kept.encoded))
        self._instances: ByteCache[FileInstance] = ByteCache(INSTANCE_BYTES, lambda kept: 1000 + len(kept.file.header))
        self._layouts: ByteCache[PixelLayout] = ByteCache(
            LAYOUT_BYTES, lambda kept: 1000 + 200 * len(kept.fragments or ())
        )

    def instances(self, study: str, series: str = "", sop: str = "") -> list[FileInstance]:
        """The instances of a study or series, or a single one, in the order of their UIDs."""
        found = []
        for file in self._client.files(study, series, sop):
            with suppress(FileNotFoundError):  # deleted since the folder was indexed
                found.append(FileInstance.of(file, os.stat(file.path)))
        if not found:
            raise NotFound("the folder has no such study, series or instance any more")
        return found

    def instance(self, study: str, series: str, sop: str) -> FileInstance:
        """One instance, cached while its file is unchanged: a viewer requests hundreds of frames at once."""
        return self._instances.get(
            (study, series, sop), lambda: self.instances(study, series, sop)[0], FileInstance.is_unchanged
        )

    def frame_count(self, instance: FileInstance) -> int:
        """The number of frames of an instance."""
        return self._layout(instance).frames

    def check_frames(self, instance: FileInstance, numbers: Sequence[int]) -> None:
        """Raise `BadInput` if a frame number (from 1) doesn't exist."""
        self._layout(instance).check_frames(numbers)

    def frame(self, instance: FileInstance, number: int, *, stored: bool) -> bytes:
        """A frame (from 1) as `stored` in the file, or decoded to explicit little endian.

        Big endian pixels are always converted. Raises `BadInput` for a frame that doesn't exist, and `UnusableSeries`
        without pixels or a decoder.
        """
        layout = self._layout(instance)
        layout.check_frames([number])
        with instance.path.open("rb", buffering=0) as file:
            if stored and layout.fragments is not None:
                return layout.stored_frame(file.fileno(), number)
            return decoded_frame(file.fileno(), layout, number)

    def file_slice(self, instance: FileInstance, number: int, *, stored: bool) -> FileSlice | None:
        """The part of the file that `frame` returns; None if the frame has to be assembled or decoded.

        Raises `BadInput` for a frame that doesn't exist, and `Conflict` if the file was replaced meanwhile.
        """
        layout = self._layout(instance)
        layout.check_frames([number])
        as_it_is = layout.syntax != BIG_ENDIAN if layout.fragments is None else stored
        place = layout.place(number) if as_it_is else None
        if place is None:
            return None
        start, length = place
        file = FileIO(instance.path)
        if FileInstance.of(instance.file, os.fstat(file.fileno())) != instance:
            file.close()
            raise Conflict("the file was replaced while it was read; ask again")
        if start + length > instance.size:
            file.close()
            raise BadFile("an image's file ends in the middle of its pixels")
        return FileSlice(file, start, length)

    def part10(self, instance: FileInstance, *, stored: bool) -> bytes:
        """The whole instance as a Part 10 file, as `stored` or in explicit little endian. Raises `UnusableSeries`
        without a decoder."""
        if stored:
            return instance.path.read_bytes()
        with instance.path.open("rb") as file:
            return explicit_little_endian(file)

    def bulk(self, instance: FileInstance, path: str) -> bytes:
        """A binary value of the header, by its path in the metadata."""
        with instance.path.open("rb") as file:
            header, _ = read_header(file)
        try:
            return bulk_value(header, path)
        except KeyError:
            raise NotFound("the instance has no such bulk data") from None

    def pixels_are(self, instance: FileInstance, path: str) -> bool:
        """Whether a path in the metadata is that of the pixels."""
        return path.upper() in ("7FE00008", "7FE00009", "7FE00010") and f"{self._layout(instance).tag:08X}" == path

    def picture(self, instance: FileInstance, number: int, how: Rendering) -> bytes:
        """A frame (from 1) rendered as an image file. Raises as `frame`, and `BadOption` for a viewport outside it."""
        layout = self._layout(instance)
        layout.check_frames([number])
        with instance.path.open("rb") as file:
            header, _ = read_header(file)
            values = frame_values(file.fileno(), layout, number)
        return render(values, header, number, how)

    def metadata(self, instances: Sequence[FileInstance]) -> Metadata:
        """The headers of instances of one series."""
        stamp = digest("\n".join(f"{one.address} {one.stamp}" for one in instances))

        def encode() -> Metadata:
            encoder = JsonEncoder()
            texts = []
            for one in instances:
                with one.path.open("rb") as file:
                    header, layout = read_header(file)
                if layout is not None:
                    # A viewer that reads the headers requests the frames next.
                    self._layouts.get((one.path, one.stamp), lambda found=layout: found)  # type: ignore[misc]
                texts.append(encoder.instance(header, layout, one.syntax, one.address))
            return Metadata(stamp, f"[{','.join(texts)}]".encode())

        return self._metadata.get(stamp, encode)

    def _layout(self, instance: FileInstance) -> PixelLayout:
        def read() -> PixelLayout:
            with instance.path.open("rb") as file:
                return read_layout(file)

        return self._layouts.get((instance.path, instance.stamp), read)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
