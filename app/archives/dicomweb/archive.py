"""Any DICOMweb service as an archive."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator
from queue import Empty, Full, Queue
from typing import Generic, TypeVar

from app.archives.dicomweb.options import DicomwebOptions
from app.archives.dicomweb.orthanc import SERIES_A_CALL, Orthanc, State
from app.archives.dicomweb.qido import list_series
from app.archives.dicomweb.retrieve import ConnectionLost, NotThere, retrieve
from app.archives.dicomweb.session import ArchiveSession, answers_wanted, origin
from app.archives.dicomweb.stow import Stow
from app.archives.registry import ArchiveOptions, ArchiveType
from app.archives.series_reader import SeriesReader
from app.core.archive import Delivery, DicomwebUpstream, Fetched, Listing, Receipt
from app.core.case import Case
from app.core.progress import Progress
from app.dicom.values import check_uid
from app.errors import ArchiveUnavailable, BadInput, NotSupported, UnknownCase

T = TypeVar("T")

_LOOK = 0.1
"""Seconds between two checks whether the consumer has closed."""


class ReadAhead(Generic[T]):
    """Iterates over a generator that runs in a thread of its own, at most `depth` items ahead.

    Raises what the generator raises. Close it when you stop early: the thread then closes the generator.
    """

    def __init__(self, source: Generator[T, None, None], depth: int) -> None:
        self._source = source
        self._items: Queue[tuple[T] | BaseException | None] = Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._pump, name="read-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Generator[T, None, None]:
        while (item := self._items.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]

    def close(self) -> None:
        """Stop, and wait until the generator is closed."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._items.get(timeout=_LOOK)
            except Empty:
                continue
        self._thread.join()

    def _pump(self) -> None:
        last: BaseException | None = None
        try:
            for item in self._source:
                if not self._put((item,)):
                    return
        except BaseException as error:  # raised in the consumer
            last = error
        finally:
            self._source.close()
        self._put(last)

    def _put(self, item: tuple[T] | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._items.put(item, timeout=_LOOK)
            except Full:
                continue
            return True
        return False


FETCHES = 2
"""Attempts to fetch a series before a lost connection is an error."""
_INSTANCES_AHEAD = 8
_MOST_INSTANCES = 65_536


class DicomwebArchive:
    """Cases are the image series of a DICOMweb service, labels are stored there as DICOM SEG.

    Lists through QIDO-RS, or through the REST API of an Orthanc (see `DicomwebOptions`); fetches a series in one
    streamed response; stores one label at a time and reads it back. Never deletes anything. Thread-safe.
    """

    def __init__(self, options: DicomwebOptions) -> None:
        from dicomweb_client import DICOMwebClient

        self.name = options.url
        self._options = options
        self._session = ArchiveSession(options)
        self._client = DICOMwebClient(options.url, session=self._session, qido_url_prefix=options.qido_prefix or None)
        # The session does its own retries.
        self._client.set_http_retry_params(retry=False)
        self._stow = Stow(self._session, options)
        self._lock = threading.Lock()
        self._probed = False
        self._orthanc: Orthanc | None = None

    def list(self, cursor: str | None) -> Listing:
        """The image series. Incremental with Orthanc; other services are listed completely each time, and stamps show
        what changed. Raises `ArchiveUnavailable`."""
        with self._session.within(self._options.fetch_seconds):
            try:
                return self._list(cursor)
            except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
                raise ArchiveUnavailable(
                    f"the archive at {origin(self._options.url)} lists its series in an unknown form"
                ) from error

    def _list(self, cursor: str | None) -> Listing:
        orthanc = self._find_orthanc()
        if orthanc is None:
            cases, complete = list_series(self._client, self._options)
            return Listing(tuple(cases), (), "qido", complete)
        since = _since(cursor)
        changed = orthanc.changed(since) if since is not None else None
        if changed is not None:
            return Listing(tuple(orthanc.cases(orthanc.series_uids(changed))), (), _cursor(changed.state))
        # State before list: changes in between are listed twice rather than missed.
        state = orthanc.state()
        found = orthanc.cases()
        # What is deleted in between moves the series of later pages, and one may be skipped.
        complete = len(found) < SERIES_A_CALL or orthanc.state() == state
        return Listing(tuple(found), (), _cursor(state), complete=complete)

    def fetch(self, case: Case, progress: Progress) -> Fetched:
        """Read a series. Raises `UnknownCase`, `UnusableSeries`, `BadFile`, `ArchiveUnavailable`."""
        url = self._series_url(case)
        for attempt in range(FETCHES):
            try:
                return self._read(url, case, progress)
            except NotThere as error:
                raise UnknownCase(f"the archive has no images of case {case.id}") from error
            except ConnectionLost as error:
                if attempt == FETCHES - 1:
                    raise ArchiveUnavailable(
                        f"the archive at {origin(url)} broke off twice while a series was read ({error})"
                    ) from error
        raise AssertionError("the last attempt returns or raises")

    def store(self, delivery: Delivery) -> Receipt:
        """See `Stow.store`. Raises `NotSupported` for labels of volume files."""
        if delivery.case.kind != "series":
            raise NotSupported("a DICOM archive takes labels of DICOM series, not of volume files")
        return self._stow.store(delivery)

    def check(self) -> str:
        """A line that names the service. Raises `ArchiveUnavailable`."""
        with answers_wanted(self._options.url):
            self._client.search_for_series(limit=1)
        orthanc = self._find_orthanc()
        version = orthanc.version() if orthanc else None
        return f"{self._options.url} answers" + (f" (Orthanc {version})" if version else " (DICOMweb)")

    def dicomweb(self) -> DicomwebUpstream:
        """The service itself."""
        options = self._options
        return DicomwebUpstream(
            url=options.url,
            user=options.user,
            password=options.password,
            token=options.token,
            verify=options.verify,
            connect_timeout=options.connect_timeout,
            read_timeout=options.read_timeout,
            total_seconds=options.fetch_seconds,
        )

    def hang_up(self) -> None:
        """End what waits for the service: it raises `ArchiveUnavailable`, and so does every later call."""
        self._session.close()

    def close(self) -> None:
        self._session.close()

    def _read(self, url: str, case: Case, progress: Progress) -> Fetched:
        reader = SeriesReader(fill_gaps=self._options.fill_gaps, max_bytes=self._options.max_bytes)
        parts = ReadAhead(retrieve(self._session, url, self._options), _INSTANCES_AHEAD)
        count = 0
        try:
            for count, part in enumerate(parts, start=1):
                if count > _MOST_INSTANCES:
                    raise ArchiveUnavailable(
                        f"the archive at {origin(url)} answers with more than {_MOST_INSTANCES} images to one series"
                    )
                reader.add(part)
                progress(min(count / max(case.instances, count + 1), 1.0), f"image {count}")
        finally:
            parts.close()
        if count == 0:
            raise NotThere
        return reader.build()

    def _series_url(self, case: Case) -> str:
        try:
            study, series = check_uid(case.study_uid), check_uid(case.series_uid)
        except BadInput as error:
            raise UnknownCase(f"case {case.id[:80]!r} is not a series of a DICOM archive") from error
        return f"{self._options.wado_root}/studies/{study}/series/{series}"

    def _find_orthanc(self) -> Orthanc | None:
        """Orthanc's REST API, if the service is an Orthanc. Probed until the service has responded once."""
        with self._lock:
            if not self._probed:
                self._probed, self._orthanc = self._probe()
            return self._orthanc

    def _probe(self) -> tuple[bool, Orthanc | None]:
        url = self._options.orthanc_url
        if url is None:
            url = self._options.url.rpartition("/")[0]
        if not url or origin(url) != origin(self._options.url):
            return True, None
        orthanc = Orthanc(url, self._session, self._options)
        if orthanc.version() is not None:
            return True, orthanc
        # No response may just mean that the service is unreachable: probe again later.
        with answers_wanted(self._options.url):
            self._client.search_for_series(limit=1)
        return True, None


def _cursor(state: State) -> str:
    return json.dumps({"orthanc": [state.change, state.instances]})


def _since(cursor: str | None) -> State | None:
    """The state in one of our cursors; None for any other."""
    try:
        change, instances = json.loads(cursor or "")["orthanc"]
        return State(int(change), int(instances))
    except (ValueError, KeyError, TypeError):
        return None


def _open(options: ArchiveOptions) -> DicomwebArchive:
    password, token = options.secrets()
    return DicomwebArchive(
        DicomwebOptions(
            url=options.studies,
            user=options.username,
            password=password,
            token=token,
            filter=options.filter,
            connect_timeout=options.connect_timeout,
            read_timeout=options.read_timeout,
            answer_seconds=options.answer_seconds,
            max_answer_bytes=options.max_answer_bytes,
            fetch_seconds=options.fetch_seconds,
            page_size=options.page_size,
            verify=str(options.ca_file) if options.ca_file else True,
            orthanc_url=options.orthanc_url or None,
        )
    )


HTTP = ArchiveType("http", _open)
HTTPS = ArchiveType("https", _open)
