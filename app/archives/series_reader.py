"""Reading the files of a series into what an archive returns, with the headers kept as the original bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

from app.core.archive import Fetched
from app.dicom.parsing import PIXEL_KEYWORDS, parse
from app.dicom.series import SeriesBuilder

if TYPE_CHECKING:
    from pydicom import Dataset


class SeriesReader:
    """A `SeriesBuilder` for whole files that keeps only decoded pixels. Not thread-safe."""

    def __init__(self, *, fill_gaps: bool, max_bytes: int) -> None:
        self._builder = SeriesBuilder(fill_gaps=fill_gaps, max_bytes=max_bytes)
        self._headers: dict[str, bytes] = {}

    def add(self, file: bytes) -> None:
        """Take one Part 10 file. Raises `BadFile`, `UnusableSeries`."""
        dataset = parse(file)
        # Before the builder reads the pixel data, while their offset in the file is still known.
        header = header_bytes(file, dataset)
        self._builder.add(dataset, owned=True)
        self._headers[str(dataset.get("SOPInstanceUID", ""))] = header

    def build(self) -> Fetched:
        """The series in slice order. Raises `UnusableSeries`."""
        assembled = self._builder.build()
        uids = (str(header.get("SOPInstanceUID", "")) for header in assembled.headers)
        return Fetched(assembled.volume, EncodedHeaders(self._headers[uid] for uid in uids))


class EncodedHeaders(Sequence["Dataset"]):
    """Instance headers that are parsed on first access: labels need them, clicks don't.

    `encoded` are Part 10 files without pixel data. Thread-safe; all callers share the datasets, so don't modify them.
    """

    def __init__(self, encoded: Iterable[bytes]) -> None:
        self.encoded = tuple(encoded)
        self._lock = threading.Lock()
        self._parsed: tuple[Dataset, ...] | None = None

    @overload
    def __getitem__(self, index: int) -> Dataset: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Dataset]: ...

    def __getitem__(self, index: int | slice) -> Dataset | Sequence[Dataset]:
        return self._datasets()[index]

    def __iter__(self) -> Iterator[Dataset]:
        return iter(self._datasets())

    def __len__(self) -> int:
        return len(self.encoded)

    def _datasets(self) -> tuple[Dataset, ...]:
        with self._lock:
            if self._parsed is None:
                self._parsed = tuple(parse(data) for data in self.encoded)
            return self._parsed


def encoded(headers: Sequence[Dataset]) -> Sequence[bytes]:
    """Headers as Part 10 files, with the original bytes where these are known."""
    import io

    if isinstance(headers, EncodedHeaders):
        return headers.encoded
    files = []
    for header in headers:
        stream = io.BytesIO()
        header.save_as(stream, enforce_file_format=True)
        files.append(stream.getvalue())
    return files


def header_bytes(file: bytes, dataset: Dataset) -> bytes:
    """The part of a file before the pixel data. `dataset` was read from it, and no element accessed yet."""
    from pydicom.dataelem import RawDataElement

    for keyword in PIXEL_KEYWORDS:
        element = dataset.get_item(keyword) if keyword in dataset else None
        if isinstance(element, RawDataElement):
            # Tag, VR, two reserved bytes and a length of four; without VR in implicit syntaxes (PS3.5 section 7.1).
            return file[: element.value_tell - (8 if element.is_implicit_VR else 12)]
    return file
