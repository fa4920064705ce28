"""A series from a real Orthanc to a volume, nothing cached.

- ours: `DicomwebArchive` and `VolumeCache`, which also writes the volume and its checksum to disk.
- floor: the same bytes downloaded to nowhere in one streamed answer, and pydicom's decoding of each instance from
  memory. No splitting of the answer, no stacking, no geometry, nothing written.
- chain: what MONAI Label does (`bench/monailabel_chain.py`).

All three come to the same voxels, which is checked.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass

import numpy as np
import pydicom
import requests
import SimpleITK as sitk
from numpy.typing import NDArray

from app.archives.cache import VolumeCache
from app.archives.dicomweb import DicomwebArchive
from app.archives.dicomweb.retrieve import ANY_SYNTAX
from app.core.case import Case
from app.core.volume import Volume
from bench.archive import opened, orthanc_with
from bench.data import Plan, Series, ct
from bench.measure import Contender, interleave
from bench.monailabel_chain import download_and_convert
from bench.report import Row, ratio, speedup
from tests.orthanc import Orthanc


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    parts = [file.read_bytes() for file in series.files]
    with orthanc_with(plan, series) as orthanc, opened(orthanc) as (archive, case):
        ours = Ours(plan, archive, case)
        check_equal(plan, orthanc, ours, series, parts)
        times = interleave(
            {
                "ours": Contender(ours.fetch, ours.drain),
                "floor": Contender(lambda: floor(orthanc, series, parts), ours.drain),
                "chain": Contender(lambda: chain(plan, orthanc, series), ours.drain),
            },
            plan.repeats(7),
        )
    return [
        ratio("fetch", "series to volume", times["ours"], "download and decode", times["floor"], 1.3),
        speedup("fetch", "series to volume", times["ours"], "MONAI Label's chain", times["chain"], 3.5),
    ]


@dataclass
class Ours:
    """A new cache each time. It writes what it fetched after it has answered; the next turn waits for that."""

    plan: Plan
    archive: DicomwebArchive
    case: Case
    cache: VolumeCache | None = None

    def fetch(self) -> Volume:
        self.cache = VolumeCache(self.archive, self.plan.folder / "fetched" / "cache", 20 * 2**30)
        return self.cache.volume(self.case)

    def drain(self) -> None:
        if self.cache is not None:
            self.cache.drain()
        clear(self.plan)


def floor(orthanc: Orthanc, series: Series, parts: list[bytes]) -> list[NDArray[np.generic]]:
    url = f"{orthanc.url}/studies/{series.study_uid}/series/{series.series_uid}"
    with requests.get(
        url, headers={"Accept": ANY_SYNTAX, "Accept-Encoding": "identity"}, stream=True, timeout=60
    ) as answer:
        answer.raise_for_status()
        while answer.raw.read(1 << 20):
            pass
    return [pydicom.dcmread(io.BytesIO(part)).pixel_array for part in parts]


def chain(plan: Plan, orthanc: Orthanc, series: Series) -> object:
    return download_and_convert(orthanc.url, series.study_uid, series.series_uid, plan.folder / "fetched" / "chain")


def clear(plan: Plan) -> None:
    shutil.rmtree(plan.folder / "fetched", ignore_errors=True)


def check_equal(plan: Plan, orthanc: Orthanc, ours: Ours, series: Series, parts: list[bytes]) -> None:
    """Raises `AssertionError` if any way leads to other voxels."""
    ours.drain()
    file = download_and_convert(orthanc.url, series.study_uid, series.series_uid, plan.folder / "fetched" / "chain")
    decoded = [pydicom.dcmread(io.BytesIO(part)) for part in parts]
    decoded.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    stacked = np.stack([d.pixel_array.astype(np.int16) + np.int16(d.RescaleIntercept) for d in decoded])
    for name, voxels in (
        ("ours", ours.fetch().voxels),
        ("floor", stacked),
        ("chain", sitk.GetArrayFromImage(sitk.ReadImage(str(file)))),
    ):
        if not np.array_equal(voxels, series.voxels):
            raise AssertionError(f"{name} has other voxels than the series")
