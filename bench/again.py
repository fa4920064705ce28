"""The same series a second time, every voxel of it read.

- ours: the volume from the cache of the process that fetched it, copied.
- chain: MONAI Label's second reading, of the `.nii.gz` that it keeps, with SimpleITK and with nibabel.
"""

from __future__ import annotations

import nibabel
import numpy as np
import SimpleITK as sitk

from app.archives.cache import VolumeCache
from bench.archive import opened, orthanc_with
from bench.data import Plan, ct
from bench.measure import Contender, interleave
from bench.monailabel_chain import download_and_convert
from bench.report import Row, speedup


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    folder = plan.new_folder("again")
    with orthanc_with(plan, series) as orthanc, opened(orthanc) as (archive, case):
        file = str(download_and_convert(orthanc.url, series.study_uid, series.series_uid, folder / "chain"))
        cache = VolumeCache(archive, folder / "cache", 20 * 2**30)
        cache.prefetch(case)
        times = interleave(
            {
                "ours": Contender(lambda: np.array(cache.volume(case).voxels)),
                "SimpleITK": Contender(lambda: sitk.GetArrayFromImage(sitk.ReadImage(file))),
                "nibabel": Contender(lambda: np.asanyarray(nibabel.load(file).dataobj)),
            },
            plan.repeats(7),
        )
    return [
        speedup("again", "volume from the cache, copied", times["ours"], f".nii.gz with {peer}", times[peer], 20)
        for peer in ("SimpleITK", "nibabel")
    ]
