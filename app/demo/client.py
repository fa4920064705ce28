"""A client of the MONAI Label API over HTTP, without code of the server.

It checks responses like 3D Slicer's client: status 200, the two parts of an inference response, the image's checksum.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import quote_plus

import numpy as np
import requests
from numpy.typing import NDArray

from app.core.volume import Geometry, Volume
from app.demo.clicks import Click

POLL_SECONDS = 0.5
SERVED_SECONDS = 6.0
"""Seconds to wait until the server uses a published version; it never uses a rejected candidate."""

ProgressCallback = Callable[[float, str], None]


class Refused(Exception):
    """The server responded with a status other than 200, or with an invalid body."""

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Sample:
    """A case that was offered, and why."""

    id: str
    name: str
    checksum: str
    patient: str
    date: str
    reason: str


@dataclass(frozen=True, eq=False)
class Segmented:
    """A mask `(k, j, i)`; `names` are its structures by value, 1-based."""

    labelmap: NDArray[np.uint8]
    names: tuple[str, ...]

    def voxels_of(self, name: str) -> NDArray[np.bool_]:
        """The voxels of a structure, bool `(k, j, i)`; empty for one that the model doesn't know."""
        if name not in self.names:
            return np.zeros(self.labelmap.shape, bool)
        return np.asarray(self.labelmap == self.names.index(name) + 1)


@dataclass(frozen=True)
class Trained:
    """`version` is the served version after a training run, not necessarily that of the run; `validation` is the best
    Dice on the server's validation cases, None without any."""

    version: str
    validation: float | None


class Client:
    """One annotator's connection. `name` is the author of the labels."""

    def __init__(self, address: str, name: str) -> None:
        self.address = address.rstrip("/")
        self.name = name
        self._session = requests.Session()
        self._session.trust_env = False  # the address is what was given, whatever proxies the environment names

    def info(self) -> dict[str, Any]:
        return dict(self._json("GET", "/info/"))

    def next_sample(self, strategy: str) -> Sample | None:
        """The next case to label; None when no case is left."""
        offered = self._json("POST", f"/activelearning/{quote_plus(strategy)}", json={"client_id": self.name})
        if not offered:
            return None
        return Sample(
            id=offered["id"],
            name=offered["name"],
            checksum=offered["checksum"],
            patient=offered.get("PatientID", ""),
            date=offered.get("StudyDate", ""),
            reason=offered.get("reason", ""),
        )

    def image(self, sample: Sample) -> Volume:
        """Download a case. Raises `Refused` if the bytes aren't those the server announced."""
        data = self._call("GET", "/datastore/image", params={"image": sample.id}).content
        found = f"SHA256:{hashlib.sha256(data).hexdigest()}"
        if found.lower() != sample.checksum.lower():
            raise Refused(f"the image of {sample.id} doesn't match its checksum")
        return from_nifti(data)

    def click(self, model: str, sample: Sample, label: str, clicks: Sequence[Click]) -> NDArray[np.bool_]:
        """The mask of one structure after all these clicks."""
        points = [(list(reversed(click.at)), click.include) for click in clicks]
        params = {
            "label": label,
            "foreground": [point for point, include in points if include],
            "background": [point for point, include in points if not include],
        }
        return np.asarray(self._infer(model, params, {"image": sample.id}).labelmap > 0)

    def segment(self, model: str, sample: Sample) -> Segmented | None:
        """An automatic model's segmentation of a case; None while the model isn't trained."""
        return _unless_untrained(lambda: self._infer(model, {}, {"image": sample.id}))

    def segment_volume(self, model: str, volume: Volume) -> Segmented | None:
        """The same for an image that is sent with the request, and doesn't become a case."""
        file = ("held-out.nii.gz", to_nifti(volume.voxels, volume.geometry))
        return _unless_untrained(lambda: self._infer(model, {}, {}, file))

    def submit(self, sample: Sample, volume: Volume, segmented: Segmented, model: str) -> None:
        """Store the label of a case."""
        info = [{"name": name, "idx": value} for value, name in enumerate(segmented.names, start=1)]
        params = {"label_info": info, "model": model, "client_id": self.name}
        content = to_nifti(segmented.labelmap, volume.geometry)
        self._json(
            "PUT",
            "/datastore/label",
            params={"image": sample.id},
            data={"params": json.dumps(params)},
            files={"label": ("label.nii.gz", content)},
        )

    def train(self, model: str, report: ProgressCallback) -> Trained:
        """Train a model, with the number of epochs in the server's settings, and wait until the result is served.

        If a training run is active (the server starts one after a number of new labels), waits for that.
        """
        before = self._version(model)
        job = self._start(f"/train/{quote_plus(model)}", {"client_id": self.name})

        def tell() -> None:
            stats = self._stats(model)
            epoch, total = int(stats.get("epoch") or 0), int(stats.get("total_epochs") or 0)
            report(epoch / total if total else 0.0, f"epoch {epoch} of {total}" if epoch else "starting")

        self._wait("/train/", job, tell)
        until = time.monotonic() + SERVED_SECONDS
        while self._version(model) == before and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        stats = self._stats(model)
        measured = stats.get("validation_cases") and stats.get("best_metric") is not None
        return Trained(self._version(model), float(stats["best_metric"]) if measured else None)

    def score(self, method: str, report: ProgressCallback) -> None:
        """Score the unlabelled cases, and wait for the result."""
        job = self._start(f"/scoring/{quote_plus(method)}", {"client_id": self.name})
        self._wait("/scoring/", job, lambda: report(0.5, "scoring"))

    def wait_for_cases(self, count: int, seconds: float) -> None:
        """Wait until the server has `count` cases. Raises `Refused` after `seconds`."""
        until = time.monotonic() + seconds
        while (known := int(self.info()["datastore"]["total"])) < count:
            if time.monotonic() > until:
                raise Refused(f"after {seconds:.0f} s the server knows {known} of {count} cases")
            time.sleep(POLL_SECONDS)

    def _stats(self, model: str) -> Mapping[str, Any]:
        return dict(self.info()["train_stats"].get(model) or {})

    def _version(self, model: str) -> str:
        return str(self.info()["models"].get(model, {}).get("version", ""))

    def _start(self, path: str, body: Mapping[str, Any]) -> str:
        """The task's id; of the running one if there is one."""
        try:
            return str(self._json("POST", path, json=body)["id"])
        except Refused as error:
            if error.status != requests.codes.too_many_requests:
                raise
        return str(self._json("GET", f"/{path.split('/')[1]}/")["id"])

    def _wait(self, path: str, task: str, tell: Callable[[], None]) -> None:
        while True:
            listed = self._json("GET", path, params={"all": "true"})
            found = next((one for one in listed if one["id"] == task), None)
            if found is None:
                raise Refused(f"the server has forgotten its task {task}")
            if found["status"] in ("ERROR", "STOPPED"):
                raise Refused(f"{path.strip('/')} ended with {found['status']}: {found['details'][-1]}")
            if found["status"] == "DONE":
                return
            tell()
            time.sleep(POLL_SECONDS)

    def _infer(
        self, model: str, params: Mapping[str, Any], query: Mapping[str, str], file: tuple[str, bytes] | None = None
    ) -> Segmented:
        text = json.dumps({**params, "client_id": self.name, "result_extension": ".nrrd", "result_dtype": "uint8"})
        parts: dict[str, Any] = {"params": (None, text)}
        if file is not None:
            parts["file"] = file
        answer = self._call("POST", f"/infer/{quote_plus(model)}", params=query, files=parts)
        return _parts(answer)

    def _json(self, method: str, path: str, **kwargs: Any) -> Any:
        answer = self._call(method, path, **kwargs)
        try:
            return answer.json()
        except ValueError as error:
            raise Refused(f"{method} {path} answered with something that is not JSON") from error

    def _call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        try:
            answer = self._session.request(method, self.address + path, timeout=600, **kwargs)
        except requests.RequestException as error:
            raise Refused(f"{method} {path}: the server doesn't answer ({type(error).__name__})", 0) from error
        if answer.status_code != requests.codes.ok:
            raise Refused(f"{method} {path} answered {answer.status_code}: {answer.text[:300]}", answer.status_code)
        return answer


def _unless_untrained(call: Callable[[], Segmented]) -> Segmented | None:
    try:
        return call()
    except Refused as error:
        if error.status != requests.codes.service_unavailable:
            raise
        return None


def _parts(answer: requests.Response) -> Segmented:
    """The two parts of an inference answer: parameters without a file name, then a mask with one."""
    kind = Message()
    kind["Content-Type"] = answer.headers.get("Content-Type", "")
    boundary = kind.get_boundary()
    if kind.get_content_type() != "multipart/form-data" or not boundary:
        raise Refused(f"an inference answer is multipart/form-data, not {kind.get_content_type()}")
    params: dict[str, Any] = {}
    labelmap: NDArray[np.uint8] | None = None
    for part in answer.content.split(f"--{boundary}".encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        if b"filename=" in head:
            labelmap = _nrrd(content)
        else:
            params = json.loads(content)
    if labelmap is None:
        raise Refused("an inference answer came without a mask")
    names = params.get("label_names", {})
    return Segmented(labelmap, tuple(sorted(names, key=names.__getitem__)))


def _nrrd(content: bytes) -> NDArray[np.uint8]:
    """The voxels `(k, j, i)`."""
    import nrrd

    stream = io.BytesIO(content)
    header = nrrd.read_header(stream)
    return np.asarray(nrrd.read_data(header, stream, index_order="C"), np.uint8)


_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GZIP = b"\x1f\x8b"


def from_nifti(data: bytes) -> Volume:
    """The volume in a NIfTI file, compressed or not."""
    import nibabel

    image: Any = nibabel.Nifti1Image.from_bytes(gzip.decompress(data) if data.startswith(_GZIP) else data)
    voxels = np.ascontiguousarray(np.asarray(image.dataobj, np.float32).transpose(2, 1, 0))
    k, j, i = voxels.shape
    return Volume(voxels, Geometry((k, j, i), _RAS_TO_LPS @ image.affine))


def to_nifti(voxels: NDArray[np.generic], geometry: Geometry) -> bytes:
    """A compressed NIfTI file; the same voxels give the same bytes."""
    import nibabel

    image: Any = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), _RAS_TO_LPS @ geometry.affine)
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
