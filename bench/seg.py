"""DICOM SEG written from a mask and read back, with 1, 5, 30 and 104 segments.

- ours: `write_seg` (which also syncs the file to disk and renames it) and `read_seg` (which places the frames on the
  series' whole grid).
- highdicom: `Segmentation(...)` and `save_as`, `segread` and `get_volume`, with the same type and transfer syntax:
  BINARY up to 10 segments, LABELMAP with RLE above.

Peak memory is that of a process that does nothing else, Python and its libraries included.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.data import Plan, Series, blobs, ct
from bench.measure import Contender, in_child, interleave
from bench.report import Row, memory, ratio
from bench.seg_calls import headers_in, read_highdicom, read_ours, write_highdicom, write_ours

COUNTS = (1, 5, 30, 104)
MOST = 1.2
MOST_MEMORY = 700_000_000
MEASURED_IN_MEMORY = 30


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    folder = plan.new_folder("seg")
    np.save(folder / "affine.npy", series.geometry.affine)
    rows = []
    for count in COUNTS[:2] if plan.quick else COUNTS:
        rows += times_of(count, plan, series, folder)
    return rows + memory_of(COUNTS[0] if plan.quick else MEASURED_IN_MEMORY, series, folder)


def times_of(count: int, plan: Plan, series: Series, folder: Path) -> list[Row]:
    labelmap, headers, geometry = blobs(plan.shape, count), headers_in(series.folder), series.geometry
    np.save(folder / f"labelmap-{count}.npy", labelmap)
    file, theirs = folder / f"{count}.dcm", folder / f"{count}-highdicom.dcm"
    written = interleave(
        {
            "ours": Contender(lambda: write_ours(labelmap, count, geometry, headers, file)),
            "highdicom": Contender(lambda: write_highdicom(labelmap, count, headers, theirs)),
        },
        plan.repeats(5),
    )
    if not np.array_equal(read_ours(file, geometry), labelmap):
        raise AssertionError("the mask read back is another one")
    if np.count_nonzero(read_highdicom(file)) != np.count_nonzero(labelmap):
        raise AssertionError("highdicom reads another mask")
    read = interleave(
        {
            "ours": Contender(lambda: read_ours(file, geometry)),
            "highdicom": Contender(lambda: read_highdicom(file)),
        },
        plan.repeats(5),
    )
    size = file.stat().st_size / 1e6
    segments = f"{count} segment{'s' if count > 1 else ''}"
    what = f"write {segments} ({size:.1f} MB)"
    return [
        ratio("seg", what, written["ours"], "highdicom", written["highdicom"], MOST),
        ratio("seg", f"read {segments}", read["ours"], "highdicom", read["highdicom"], MOST),
    ]


def memory_of(count: int, series: Series, folder: Path) -> list[Row]:
    rows = []
    for verb in ("write", "read"):
        ours, theirs = (
            int(in_child("bench.seg_once", verb, who, str(count), folder, series.folder)["peak"])
            for who in ("ours", "highdicom")
        )
        rows.append(memory("seg", f"peak memory, {verb} {count} segments", ours, "highdicom", theirs, MOST_MEMORY))
    return rows
