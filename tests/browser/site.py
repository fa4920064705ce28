"""The real application on a real socket, over a folder or an Orthanc of synthetic series, with a model whose answers
anyone can work out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import requests
from numpy.typing import NDArray

from app.main import create_app
from app.services import Services
from app.settings import ModelSettings, Settings
from tests.dicom.synthetic import Truth, ct_series, enhanced_series, write_series
from tests.live import listening
from tests.orthanc import Orthanc

SHAPE = (40, 64, 48)
SPACING = (2.0, 2.2, 3.0)
RADIUS = 2
STRUCTURES = ["liver", "spleen"]
MODELS = {
    "clicks": ModelSettings(type="fake"),
    "bands": ModelSettings(type="fake_automatic"),
    "segmentation": ModelSettings(type="segmentation", trainer="segmentation"),
}
SERIES = {
    "straight": ("axial", False),
    "oblique": ("oblique", False),
    "reversed": ("axial", True),
    "both": ("oblique", True),
}
"""Orientation, and whether instance numbers go against positions."""


@dataclass(frozen=True)
class Site:
    """`truth` has the grid of each case and `cases` its id, both by the names in `SERIES`. `series` are the UIDs of
    cases that are volume files."""

    url: str
    services: Services
    truth: dict[str, Truth]
    cases: dict[str, str]
    studies: dict[str, str]
    series: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        answer = _session().get(f"{self.url}/api/v1/{path}", timeout=20)
        answer.raise_for_status()
        return answer.json()

    def labels(self, name: str) -> list[dict[str, Any]]:
        return list(self.get(f"cases/{self.cases[name]}/labels"))

    def stored(self, name: str) -> dict[str, NDArray[np.uint8]]:
        """The newest label of a case by its structures, read from its DICOM file frame by frame: each frame goes to the
        slice where its ImagePositionPatient says, and nothing of ours takes part."""
        label = self.labels(name)[-1]
        file = _session().get(f"{self.url}/api/v1/labels/{label['id']}/file", timeout=20).content
        return seg_voxels(file, self.truth[name])


def seg_voxels(file: bytes, truth: Truth) -> dict[str, NDArray[np.uint8]]:
    """The voxels (k, j, i) of each segment of a BINARY DICOM SEG by its label."""
    dataset = pydicom.dcmread(io.BytesIO(file))
    names = {int(one.SegmentNumber): str(one.SegmentLabel) for one in dataset.SegmentSequence}
    found = {name: np.zeros(truth.geometry.shape, np.uint8) for name in names.values()}
    pixels = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    inverse = np.linalg.inv(truth.geometry.affine)
    (shared,) = dataset.SharedFunctionalGroupsSequence  # names the segment if there is only one
    for frame, group in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        position = [*map(float, group.PlanePositionSequence[0].ImagePositionPatient), 1.0]
        i, j, k = np.rint((inverse @ position)[:3]).astype(int)
        assert (i, j) == (0, 0)
        (segment,) = (shared if len(names) == 1 else group).SegmentIdentificationSequence
        found[names[int(segment.ReferencedSegmentNumber)]][k] = frame
    return found


@contextmanager
def over_folder(folder: Path, viewer_dir: Path, frames: bool = False, **settings: Any) -> Iterator[Site]:
    """With `frames` each series is one multi-frame instance, and the oblique ones are MR."""
    truth, cases, studies = {}, {}, {}
    for patient, (name, (orientation, reverse)) in enumerate(SERIES.items(), start=1):
        datasets, truth[name] = _series(orientation, reverse, patient, frames)
        write_series(datasets, folder / "studies" / name)
        cases[name], studies[name] = datasets[0].SeriesInstanceUID, datasets[0].StudyInstanceUID
    with _serving(folder, str(folder / "studies"), viewer_dir, **settings) as (url, services):
        yield Site(url, services, truth, cases, studies)


@contextmanager
def over_orthanc(folder: Path, orthanc: Orthanc, viewer_dir: Path, **settings: Any) -> Iterator[Site]:
    truth, cases, studies = {}, {}, {}
    for patient, name in enumerate(("straight", "both"), start=1):
        datasets, truth[name] = _series(*SERIES[name], patient)
        orthanc.upload(datasets)
        cases[name], studies[name] = datasets[0].SeriesInstanceUID, datasets[0].StudyInstanceUID
    with _serving(folder, orthanc.url, viewer_dir, **settings) as (url, services):
        yield Site(url, services, truth, cases, studies)


@contextmanager
def over_volumes(folder: Path, viewer_dir: Path, **settings: Any) -> Iterator[Site]:
    """The volume files that are in `folder`/studies, by the names of their cases."""
    with _serving(folder, str(folder / "studies"), viewer_dir, **settings) as (url, services):
        cases = {row.case.id: row.case for row in services.cases.all()}
        volumes = {name: services.cases.volume(name) for name in cases}
        truth = {name: Truth(volume.voxels, volume.geometry) for name, volume in volumes.items()}
        studies = {name: case.study_uid for name, case in cases.items()}
        series = {name: case.series_uid for name, case in cases.items()}
        yield Site(url, services, truth, {name: name for name in cases}, studies, series)


def _series(orientation: Any, reverse: bool, patient: int, frames: bool = False) -> tuple[list[pydicom.Dataset], Truth]:
    values: dict[str, Any] = {"orientation": orientation, "reversed": reverse, "spacing": SPACING, "patient": patient}
    if not frames:
        return ct_series(SHAPE, **values)
    # MR where it lies at an angle; functional groups once for all frames, or again for each.
    modality: Any = "MR" if orientation == "oblique" else "CT"
    dataset, truth = enhanced_series(SHAPE, modality=modality, shared=not reverse, **values)
    return [dataset], truth


@contextmanager
def _serving(folder: Path, studies: str, viewer_dir: Path, **settings: Any) -> Iterator[tuple[str, Services]]:
    values: dict[str, Any] = {
        "models": MODELS,
        "labels": {"structures": STRUCTURES},
        "learning": {"train_after": 0},
        "device": "cpu",
        "viewer_dir": viewer_dir,
        **settings,
    }
    app = create_app(Settings(studies=studies, workspace=folder / "workspace", **values))
    services: Services = app.state.services
    prefix = f"/t/{settings['token']}/u/Ada%20L" if "token" in settings else ""
    with listening(app) as port:
        services.sync.run()
        yield f"http://127.0.0.1:{port}{prefix}", services


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    return session
