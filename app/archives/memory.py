"""An archive in memory, for tests and for commands that need no images."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.core.archive import Delivery, DicomwebUpstream, Fetched, Listing, Receipt
from app.core.case import Case
from app.core.progress import Progress
from app.core.volume import Volume
from app.dicom.series import assemble, case_of
from app.errors import ArchiveUnavailable, Conflict, IntegrityError, UnknownCase

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True)
class _Held:
    case: Case
    fetch: Callable[[], Fetched]
    added: int


class MemoryArchive:
    """Holds series as datasets, and volumes; `labels` has the bytes of stored labels.

    With `available` set to False every call raises `ArchiveUnavailable`, as with an unreachable archive. Thread-safe.
    """

    name = "memory"

    def __init__(
        self,
        series: Iterable[Sequence[Dataset]] = (),
        volumes: Mapping[str, Volume] | None = None,
        dicomweb: DicomwebUpstream | None = None,
    ) -> None:
        """`dicomweb` is what viewers read from, where that is to be tried without the archive behind it."""
        self._dicomweb = dicomweb
        self.available = True
        self.labels: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._gone: dict[str, int] = {}
        self._changes = 0
        for instances in series:
            self.add_series(instances)
        for case_id, volume in (volumes or {}).items():
            self.add_volume(case_id, volume)

    def add_series(self, instances: Sequence[Dataset]) -> Case:
        """Add a series, or replace it. Returns its case."""
        kept = tuple(instances)
        uids = sorted(str(instance.SOPInstanceUID) for instance in kept)
        stamp = hashlib.sha256("\n".join(uids).encode()).hexdigest()[:16]

        def fetch() -> Fetched:
            assembled = assemble(kept)
            return Fetched(assembled.volume, assembled.headers)

        return self._add(case_of(kept, stamp), fetch)

    def add_volume(self, case_id: str, volume: Volume, patient_id: str = "") -> Case:
        """Add a volume as if it were a volume file, or replace it. Returns its case."""
        stamp = hashlib.sha256(volume.voxels.tobytes() + volume.geometry.affine.tobytes()).hexdigest()[:16]
        case = Case(case_id, "file", stamp, patient_id=patient_id, modality=volume.modality)
        return self._add(case, lambda: Fetched(volume, ()))

    def remove(self, case_id: str) -> None:
        with self._lock:
            self._changes += 1
            if self._held.pop(case_id, None) is not None:
                self._gone[case_id] = self._changes

    def list(self, cursor: str | None) -> Listing:
        """The cases added since `cursor`, and those removed. Raises `ArchiveUnavailable`."""
        self._check_available()
        since = int(cursor) if cursor and cursor.isdigit() else -1
        with self._lock:
            cases = tuple(held.case for held in self._held.values() if held.added > since)
            gone = tuple(case_id for case_id, removed in self._gone.items() if removed > since)
            return Listing(cases, () if since < 0 else gone, str(self._changes), complete=since < 0)

    def fetch(self, case: Case, progress: Progress) -> Fetched:
        """Raises `UnknownCase`, `UnusableSeries`, `BadFile`, `ArchiveUnavailable`."""
        self._check_available()
        progress(0.0, "reading")
        with self._lock:
            held = self._held.get(case.id)
        if held is None:
            raise UnknownCase(f"there is no case {case.id[:80]!r} in memory")
        return held.fetch()

    def store(self, delivery: Delivery) -> Receipt:
        """Keep the label's bytes. Raises `IntegrityError`, `Conflict`, `ArchiveUnavailable`."""
        self._check_available()
        data = delivery.file.read_bytes()
        if hashlib.sha256(data).hexdigest() != delivery.sha256:
            raise IntegrityError(f"label {delivery.tag} {delivery.number} of {delivery.case.id} has changed on disk")
        location = f"{delivery.tag}/{delivery.case.id}/v{delivery.number:04d}"
        with self._lock:
            if self.labels.setdefault(location, data) != data:
                raise Conflict(f"another label is stored as {location}")
        return Receipt(location)

    def check(self) -> str:
        self._check_available()
        return f"{len(self._held)} cases in memory"

    def dicomweb(self) -> DicomwebUpstream | None:
        return self._dicomweb

    def close(self) -> None:
        """Nothing to close."""

    def _add(self, case: Case, fetch: Callable[[], Fetched]) -> Case:
        with self._lock:
            self._changes += 1
            self._gone.pop(case.id, None)
            self._held[case.id] = _Held(case, fetch, self._changes)
        return case

    def _check_available(self) -> None:
        if not self.available:
            raise ArchiveUnavailable("the archive in memory is switched off")
