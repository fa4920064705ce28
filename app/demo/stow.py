"""Storing the phantom studies in a DICOMweb archive (STOW-RS, DICOM PS3.18 10.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import requests

from app.core.progress import Progress
from app.demo.plan import Study
from app.errors import ArchiveUnavailable
from app.settings import Settings
from app.web.browsers import LOOPBACK


def is_local(url: str) -> bool:
    return urlsplit(url).hostname in LOOPBACK


def store(settings: Settings, folder: Path, studies: Sequence[Study], progress: Progress) -> None:
    """Store each study's files below `folder`, one request per study. Idempotent, because UIDs and bytes don't change.
    Raises `ArchiveUnavailable`, `ConfigurationError`."""
    session = _session(settings)
    url = f"{(settings.studies_url or '').rstrip('/')}/studies"
    timeouts = (settings.archive.connect_timeout, settings.archive.read_timeout)
    for done, study in enumerate(studies):
        progress(done / len(studies), study.patient_id)
        files = [file.read_bytes() for file in sorted((folder / study.folder_name).glob("*.dcm"))]
        boundary = hashlib.sha256(study.series_uid.encode()).hexdigest()[:40]
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"',
            "Accept": "application/dicom+json",
        }
        try:
            answer = session.post(
                url, data=_body(files, boundary), headers=headers, timeout=timeouts, allow_redirects=False
            )
            outcome = answer.json() if answer.content else {}
        except (requests.RequestException, ValueError) as error:
            raise ArchiveUnavailable(f"the archive doesn't take phantoms ({type(error).__name__})") from error
        stored = _stored(outcome)
        if answer.status_code != requests.codes.ok or stored != len(files):
            raise ArchiveUnavailable(
                f"the archive answers {answer.status_code} and stored {stored} of {len(files)} phantom slices"
            )


def _session(settings: Settings) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = str(settings.archive.ca_file) if settings.archive.ca_file else True
    password, token = settings.archive_secrets()
    if token:
        session.headers["Authorization"] = f"Bearer {token}"
    elif settings.archive.username:
        session.auth = (settings.archive.username, password)
    return session


def _body(files: Sequence[bytes], boundary: str) -> bytes:
    parts = []
    for data in files:
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\nContent-Length: {len(data)}\r\n\r\n"
        parts += [head.encode(), data, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _stored(outcome: object) -> int:
    """The number of instances in the response's ReferencedSOPSequence (PS3.18 I.2)."""
    if isinstance(outcome, list):
        outcome = outcome[0] if outcome else {}
    listed = outcome.get("00081199", {}).get("Value", []) if isinstance(outcome, dict) else []
    return len(listed)
