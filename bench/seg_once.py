"""One SEG written or read in a process of its own, for its peak memory.

Arguments: `write` or `read`, `ours` or `highdicom`, how many segments, a folder, and the series' folder. The former
holds `labelmap-COUNT.npy`, `affine.npy` and, for reading, `COUNT.dcm`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from app.core.volume import Geometry
from bench.measure import peak_memory
from bench.seg_calls import headers_in, read_highdicom, read_ours, write_highdicom, write_ours


def main(verb: str, who: str, count: int, folder: Path, series: Path) -> None:
    affine, labelmap_file = np.load(folder / "affine.npy"), folder / f"labelmap-{count}.npy"
    geometry = Geometry(np.load(labelmap_file, mmap_mode="r").shape, affine)
    if verb == "write":
        labelmap, headers, file = np.load(labelmap_file), headers_in(series), folder / f"{count}-{who}-once.dcm"
        if who == "ours":
            write_ours(labelmap, count, geometry, headers, file)
        else:
            write_highdicom(labelmap, count, headers, file)
    elif who == "ours":
        read_ours(folder / f"{count}.dcm", geometry)
    else:
        read_highdicom(folder / f"{count}.dcm")
    print(json.dumps({"peak": peak_memory()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
