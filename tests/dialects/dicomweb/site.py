"""The real application over a folder of DICOM files, on a real socket, and what is in the folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Any

import requests
from fastapi import FastAPI
from pydicom import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from app.main import create_app
from app.services import Services
from app.settings import Settings
from tests.dialects.monailabel.site import MODELS, STRUCTURES
from tests.dicom.synthetic import ct_series, encode, enhanced_series, mr_series, write_series
from tests.live import listening

SHAPE = (6, 20, 16)


@dataclass(frozen=True)
class Site:
    """`url` is the root of the service, `folder` what it serves."""

    url: str
    address: str
    services: Services
    folder: Path
    app: FastAPI

    def get(self, path: str, accept: str = "", **options: Any) -> requests.Response:
        headers = {
            "Accept-Encoding": "identity",
            **({"Accept": accept} if accept else {}),
            **options.pop("headers", {}),
        }
        return requests.get(f"{self.url}{path}", headers=headers, timeout=30, **options)

    def store(self, files: Sequence[bytes], path: str = "/studies", **headers: str) -> requests.Response:
        body = b"".join(b"--b1\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
        kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b1', **headers}
        return requests.post(f"{self.url}{path}", data=body + b"--b1--\r\n", headers=kind, timeout=60)


@contextmanager
def serving(folder: Path, studies: str | Path, token: str = "", **settings: Any) -> Iterator[Site]:
    values: dict[str, Any] = {"models": MODELS, "labels": {"structures": STRUCTURES}, "learning": {"train_after": 0}}
    values |= {"workspace": folder / "workspace", "studies": str(studies), "device": "cpu", **settings}
    app = create_app(Settings(**values), token=token)
    with listening(app) as port:
        app.state.services.sync.run()
        address = f"http://127.0.0.1:{port}"
        yield Site(f"{address}/dicom-web", address, app.state.services, Path(studies), app)


def series() -> dict[str, list[Dataset]]:
    """One series of each kind, each of a patient of its own."""
    kinds: dict[str, list[Dataset]] = {
        "oblique": ct_series(SHAPE, orientation="oblique", reversed=True, patient=1)[0],
        "mr": mr_series(SHAPE, orientation="sagittal", patient=2)[0],
        "implicit": ct_series(SHAPE, transfer_syntax=ImplicitVRLittleEndian, patient=3)[0],
        "big endian": ct_series(SHAPE, transfer_syntax=ExplicitVRBigEndian, patient=4)[0],
        "rle": ct_series(SHAPE, transfer_syntax=RLELossless, patient=5)[0],
        "jpeg-ls": ct_series(SHAPE, transfer_syntax=JPEGLSLossless, patient=6)[0],
        "enhanced": [enhanced_series(SHAPE, patient=7)[0]],
        "enhanced rle": [enhanced_series(SHAPE, transfer_syntax=RLELossless, reversed=True, patient=8)[0]],
    }
    return kinds


def write(kinds: dict[str, list[Dataset]], folder: Path) -> None:
    for name, datasets in kinds.items():
        write_series(datasets, folder / name)


def path_of(dataset: Dataset, *, upto: str = "instances") -> str:
    """The resource of an instance, or of its series or study."""
    path = f"/studies/{dataset.StudyInstanceUID}"
    if upto != "studies":
        path += f"/series/{dataset.SeriesInstanceUID}"
    return f"{path}/instances/{dataset.SOPInstanceUID}" if upto == "instances" else path


def parts(answer: requests.Response) -> list[tuple[str, bytes]]:
    """`(type, content)` of each part of a multipart answer, taken apart by the standard library."""
    assert answer.status_code == 200, answer.text[:500]
    head = f"Content-Type: {answer.headers['content-type']}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = message_from_bytes(head + answer.content)
    assert message.is_multipart()
    boundary = f"--{message.get_boundary()}".encode()
    found = []
    for piece in answer.content.split(boundary)[1:-1]:
        headers, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        kind = next(line for line in headers.decode().split("\r\n") if line.lower().startswith("content-type:"))
        found.append((kind.partition(":")[2].strip(), content.removesuffix(b"\r\n")))
    return found


__all__ = ["SHAPE", "Site", "encode", "parts", "path_of", "series", "serving", "write"]
