"""A private Orthanc for tests and benches: Debian's binary, loopback, a temporary folder, gone at exit."""

from __future__ import annotations

import atexit
import io
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from pydicom import Dataset

BINARIES = ("/usr/sbin/Orthanc", "/usr/local/sbin/Orthanc", "/usr/bin/Orthanc")
PLUGINS = (
    "/usr/share/orthanc/plugins/libOrthancDicomWeb.so",
    "/usr/local/share/orthanc/plugins/libOrthancDicomWeb.so",
    "/usr/lib/orthanc/libOrthancDicomWeb.so",
)


class OrthancMissing(RuntimeError):
    """Orthanc or its DICOMweb plugin is not installed."""


class Orthanc:
    """A running Orthanc. `url` is the root of DICOMweb, `rest` that of Orthanc's own interface."""

    def __init__(self, folder: Path, users: Mapping[str, str] | None = None, port: int | None = None) -> None:
        self._folder = folder
        self._port = port or free_port()
        self._users = dict(users or {})
        self.rest = f"http://127.0.0.1:{self._port}"
        self.url = f"{self.rest}/dicom-web"
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.auth = next(iter(self._users.items()), None)

    @classmethod
    def start(cls, folder: Path, users: Mapping[str, str] | None = None) -> Orthanc:
        """Start an Orthanc that keeps everything in `folder`. Raises `OrthancMissing`."""
        orthanc = cls(folder, users)
        orthanc.run()
        return orthanc

    def run(self) -> None:
        """Start it, again after a `stop` (same port, same content)."""
        binary, plugin = _installed()
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self._configuration(plugin)))
        with (self._folder / "orthanc.log").open("ab") as log:
            self._process = subprocess.Popen([binary, str(configuration)], stdout=log, stderr=log)
        atexit.register(self.stop)
        self._wait()

    def stop(self) -> None:
        """Kill it. What it has stored stays in the folder."""
        atexit.unregister(self.stop)
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def upload(self, items: Iterable[Dataset | Path | bytes]) -> list[str]:
        """Store DICOM files or datasets; returns Orthanc's ids of the instances."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(self._upload_one, items))

    def _upload_one(self, item: Dataset | Path | bytes) -> str:
        answer = self._session.post(f"{self.rest}/instances", data=_bytes(item), timeout=60)
        answer.raise_for_status()
        return str(answer.json()["ID"])

    def delete_series(self, series_uid: str) -> None:
        found = self._session.post(f"{self.rest}/tools/lookup", data=series_uid, timeout=10).json()
        for resource in found:
            self._session.delete(self.rest + resource["Path"], timeout=10).raise_for_status()

    def empty(self) -> None:
        """Delete everything."""
        for patient in self._session.get(f"{self.rest}/patients", timeout=10).json():
            self._session.delete(f"{self.rest}/patients/{patient}", timeout=10).raise_for_status()

    def instance_at(self, address: str) -> bytes:
        """The stored file of the instance with a WADO-RS address."""
        uid = address.rpartition("/")[2]
        (found,) = self._session.post(f"{self.rest}/tools/lookup", data=uid, timeout=10).json()
        return self._session.get(f"{self.rest}{found['Path']}/file", timeout=10).content

    def _wait(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            try:
                if self._session.get(f"{self.url}/studies?limit=1", timeout=2).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.05)
        self.stop()
        raise RuntimeError(f"Orthanc didn't start: {(self._folder / 'orthanc.log').read_text()[-2000:]}")

    def _configuration(self, plugin: str) -> dict[str, object]:
        store = str(self._folder / "store")
        return {
            "Name": "segloop tests",
            "HttpPort": self._port,
            "RemoteAccessAllowed": False,
            "DicomServerEnabled": False,
            "StorageDirectory": store,
            "IndexDirectory": store,
            "HttpCompressionEnabled": False,
            "AuthenticationEnabled": bool(self._users),
            "RegisteredUsers": self._users,
            "Plugins": [plugin],
            "StableAge": 1,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
        }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def missing() -> str:
    """Why there is no Orthanc on this machine; empty if there is."""
    try:
        _installed()
    except OrthancMissing as error:
        return str(error)
    return ""


def _installed() -> tuple[str, str]:
    binary = shutil.which("Orthanc") or next((p for p in BINARIES if Path(p).exists()), None)
    plugin = next((p for p in PLUGINS if Path(p).exists()), None)
    if binary is None or plugin is None:
        raise OrthancMissing("Orthanc with its DICOMweb plugin is not installed (apt-get install orthanc-dicomweb)")
    return binary, plugin


def _bytes(item: Dataset | Path | bytes) -> bytes:
    if isinstance(item, bytes):
        return item
    if isinstance(item, Path):
        return item.read_bytes()
    stream = io.BytesIO()
    item.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
