"""Frames of a series over DICOMweb, as a viewer asks for them: one GET each, the stored syntax, connections kept open.

- ours: `segloop serve` over the folder.
- without zero-copy: the same with `zero_copy: false`, so that files pass through Python.
- Orthanc: Debian's, with the same files.

The client is the same: one thread per connection, every byte read and counted. Metadata of the whole series, asked for
again as every viewer does that opens it, is timed the same way.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from pydicom import dcmread

from bench.archive import orthanc_with
from bench.data import Plan, Series, ct
from bench.measure import Contender, interleave
from bench.report import Row, ratio
from bench.server import serving

ACCEPT = "multipart/related; type=application/octet-stream; transfer-syntax=*"
MOST = 0.5


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    paths = [f"/dicom-web{path}/frames/1" for path in instances(series)]
    metadata = f"/dicom-web/studies/{series.study_uid}/series/{series.series_uid}/metadata"
    rows = []
    with ExitStack() as opened:
        orthanc = opened.enter_context(orthanc_with(plan, series))
        server = opened.enter_context(serving(series.folder, plan.new_folder("dicomweb") / "workspace", {}))
        plain = opened.enter_context(
            serving(series.folder, plan.new_folder("dicomweb-plain") / "workspace", {}, zero_copy=False)
        )
        server.wait_for_cases(1)
        plain.wait_for_cases(1)
        through_python = plain.address.removesuffix("/dicom-web")
        ours, theirs = (address.removesuffix("/dicom-web") for address in (server.address, orthanc.url))
        check_equal(ours, theirs, paths[:3], series)
        for connections in (1, 6):
            times = interleave(
                {
                    "ours": Contender(lambda n=connections: download(ours, paths, n)),
                    "without zero-copy": Contender(lambda n=connections: download(through_python, paths, n)),
                    "Orthanc": Contender(lambda n=connections: download(theirs, paths, n)),
                },
                plan.repeats(7),
            )
            what = f"{len(paths)} frames over {connections} connection{'s' if connections > 1 else ''}"
            rows.append(ratio("dicomweb", what, times["ours"], "Orthanc", times["Orthanc"], MOST))
            plainly = f"{what}, without zero-copy"
            rows.append(ratio("dicomweb", plainly, times["without zero-copy"], "Orthanc", times["Orthanc"], None))
        times = interleave(
            {
                "ours": Contender(lambda: download(ours, [metadata], 1)),
                "Orthanc": Contender(lambda: download(theirs, [metadata], 1)),
            },
            plan.repeats(7),
        )
        what = f"metadata of {len(paths)} instances"
        rows.append(ratio("dicomweb", what, times["ours"], "Orthanc", times["Orthanc"], MOST))
    return rows


def instances(series: Series) -> list[str]:
    """The resource of each instance, in an order that is the same for both."""
    sops = sorted(str(dcmread(file, specific_tags=["SOPInstanceUID"]).SOPInstanceUID) for file in series.files)
    return [f"/studies/{series.study_uid}/series/{series.series_uid}/instances/{sop}" for sop in sops]


def download(address: str, paths: Sequence[str], connections: int) -> int:
    """Get everything over so many connections, which are opened here; how many bytes came."""
    with ThreadPoolExecutor(connections) as pool:
        return sum(pool.map(lambda some: _over_one(address, some), [paths[n::connections] for n in range(connections)]))


def _over_one(address: str, paths: Sequence[str]) -> int:
    with connected(address) as connection:
        return sum(connection.get(path) for path in paths)


@contextmanager
def connected(address: str) -> Iterator[Connection]:
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port)) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Connection(opened, parts.netloc)


class Connection:
    """HTTP/1.1 kept open, with as little of its own work as Python can do: a browser's is faster than `http.client`."""

    def __init__(self, opened: socket.socket, host: str) -> None:
        self._socket = opened
        self._host = host
        self._buffer = bytearray(1 << 20)
        self._body = slice(0)

    def get(self, path: str) -> int:
        """Read a body; how long it is. Raises `RuntimeError` for any status but 200."""
        accept = f"Accept: {ACCEPT}\r\n" if "/frames/" in path else ""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n{accept}\r\n".encode())
        have = 0
        while (end := self._buffer.find(b"\r\n\r\n", 0, have)) < 0:
            have += self._receive(have)
        head = self._buffer[:end].decode("latin-1")
        length = re.search(r"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        if not head.startswith("HTTP/1.1 200 ") or length is None:
            raise RuntimeError(f"{path} answers {head[:300]}")
        stop = end + 4 + int(length[1])
        if stop > len(self._buffer):
            self._buffer += bytes(stop - len(self._buffer))
        while have < stop:
            have += self._receive(have)
        self._body = slice(end + 4, stop)
        return stop - end - 4

    @property
    def body(self) -> bytes:
        """What came last."""
        return bytes(self._buffer[self._body])

    def _receive(self, at: int) -> int:
        with memoryview(self._buffer) as view:
            count = self._socket.recv_into(view[at:])
        if not count:
            raise RuntimeError("the server hung up")
        return count


def check_equal(ours: str, theirs: str, paths: Sequence[str], series: Series) -> None:
    """Raises `AssertionError` if the two send other pixels."""
    size = series.geometry.shape[1] * series.geometry.shape[2] * 2
    for path in paths:
        frames = []
        for address in (ours, theirs):
            with connected(address) as connection:
                connection.get(path)
                frames.append(connection.body.partition(b"\r\n\r\n")[2][:size])
        if frames[0] != frames[1] or len(frames[0]) != size:
            raise AssertionError("the servers send different frames")
