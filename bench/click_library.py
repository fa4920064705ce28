"""The bare nnInteractive library in a process of its own, clicked through pipes: `FOLDER VOXELS.npy STORAGE AUTOZOOM`.

Loads the same folder in the same precision as the server does. Each line in is `null` to start over, or
`[[k, j, i], include]`; each line out is `{"seconds": …, "mask": digest}`, the time being that of the library call.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np

from app.core.volume import Geometry, Volume
from app.models.device import Device
from app.models.nninteractive.folder import read_folder
from app.models.nninteractive.library import Storage, load_model, open_session


def main(folder: Path, voxels_file: Path, storage: Storage, *, autozoom: bool) -> None:
    device = Device("cpu")
    voxels = np.load(voxels_file)
    volume = Volume(voxels, Geometry(voxels.shape, np.eye(4)))
    session = open_session(load_model(read_folder(folder), device), volume, device, storage, autozoom=autozoom)
    target = np.zeros(voxels.shape, np.uint8)
    session.set_target_buffer(target)
    tell({})
    for line in sys.stdin:
        order = json.loads(line)
        if order is None:
            session.reset_interactions()
            tell({})
            continue
        at, include = order
        start = perf_counter()
        session.add_point_interaction(tuple(at), include)
        elapsed = perf_counter() - start
        tell({"seconds": elapsed, "mask": hashlib.sha256(target).hexdigest()})


def tell(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), cast(Storage, sys.argv[3]), autozoom=sys.argv[4] == "autozoom")
