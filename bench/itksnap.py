"""ITK-SNAP's strokes through this server's dialect, until the client has the whole answer.

- ours: the requests of ITK-SNAP's second generation (`tests/dialects/itksnap/replica.py`: one kept connection), from
  the request for the click to the last byte of its answer. What the client then does with it (it unpacks a byte for
  every voxel) is its own.
- library: the bare nnInteractive session with the same weights, volume, points and precision in a process of its own
  (`bench.click_library`), called directly.
- peer: itksnap-dls 0.1.6 in a process of its own with the same weights, if it can be installed: its download function
  is replaced by one that returns our folder.

All follow structures beyond the patch (auto-zoom), because the peer can't be told not to. The network is tiny, so that
what the servers add is seen, and set by hand to see a ball around every click, so that nothing is ever zoomed. All take
each click one after the other before the next click. The library, in the same precision, has to come to equal masks;
the peer computes in its own precision, so there it is their Dice. The first mask is measured from the upload of the
image on, which each server has to unpack and normalise.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from bench.click import SETTLE, Click, Clicked, clicks_of, library
from bench.data import Plan, Shape, blobs
from bench.measure import Contender, Timing, interleave, rotated
from bench.report import Row, added, ratio
from bench.server import serving
from tests.clients.itksnap_peer import PeerMissing, install, real_models
from tests.dialects.itksnap.replica import Answer, Image, ItkSnap, Wire
from tests.models.folders import clicked_nninteractive

SHAPES: tuple[Shape, ...] = ((256, 256, 256), (300, 512, 512))
QUICK_SHAPE = (128, 128, 128)
CACHE = Path(__file__).parents[1] / ".cache" / "itksnap-dls"
TARGET = 0.060
PEER_TARGET = 0.2


def run(plan: Plan) -> list[Row]:
    folder = plan.new_folder("itksnap")
    weights = folder / "weights"
    clicked_nninteractive(weights / "nnInteractive_v1.0", patch=64)
    (folder / "studies").mkdir()
    rows = []
    for shape in (QUICK_SHAPE,) if plan.quick else SHAPES:
        rows += _measured(plan, folder, weights, shape)
    return rows


def _measured(plan: Plan, folder: Path, weights: Path, shape: Shape) -> list[Row]:
    size = " x ".join(str(n) for n in reversed(shape))
    image = Image(_phantom(shape))
    voxels, model = folder / "voxels.npy", weights / "nnInteractive_v1.0"
    np.save(voxels, image.voxels)
    with ExitStack() as stack:
        models = {"starter": {"type": "nninteractive", "source": str(model)}}
        workspace = folder / f"workspace-{shape[0]}"
        ports = {"ours": stack.enter_context(serving(folder / "studies", workspace, models)).port}
        try:
            ports["peer"] = stack.enter_context(real_models(install(CACHE), weights, folder / "peer.log"))
        except PeerMissing as error:
            print(f"not compared with itksnap-dls: {error}")
        contenders: dict[str, Clicked] = {name: SnapClicks(port, image) for name, port in ports.items()}
        contenders["library"] = stack.enter_context(library(model, voxels, "blosc2", autozoom=True))
        times, agreement = _rounds(contenders, plan, shape)
        equal = agreement.pop("library") == 1
        what = f"ITK-SNAP: click, {size}; {'masks equal' if equal else 'MASKS DIFFER'}"
        rows = [added("itksnap", what, times["ours"], "library, same storage", times["library"], TARGET)]
        if "peer" in ports:
            what = f"ITK-SNAP: click, {size}; Dice at least {agreement['peer']:.4f}"
            rows.append(ratio("itksnap", what, times["ours"], "itksnap-dls", times["peer"], PEER_TARGET))
            first = interleave(
                {name: Contender(partial(_first_mask, port, image)) for name, port in ports.items()},
                plan.repeats(3, quick=1),
            )
            what = f"ITK-SNAP: upload to first mask, {size}"
            rows.append(ratio("itksnap", what, first["ours"], "itksnap-dls", first["peer"], 1.0))
    return rows


def _rounds(contenders: dict[str, Clicked], plan: Plan, shape: Shape) -> tuple[dict[str, Timing], dict[str, float]]:
    """As `bench.click.rounds`, and how well each agrees with ours at worst: the library's masks are equal (1) or not
    (0), the peer's have a Dice. The first round isn't counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    agreement = {name: 1.0 for name in contenders if name != "ours"}
    for number in range(-1, plan.repeats(3, quick=1)):
        for one in contenders.values():
            one.start_over()
        for turn, click in enumerate(clicks_of(shape, number)[: 3 if plan.quick or number < 0 else None]):
            for name in rotated(list(contenders), turn):
                time.sleep(SETTLE)
                elapsed = contenders[name].click(click)
                if number >= 0:
                    seconds[name].append(elapsed)
            for name, worst in agreement.items():
                agreement[name] = min(worst, _agreement(contenders["ours"], contenders[name]))
    return {name: Timing(tuple(values)) for name, values in seconds.items()}, agreement


def _agreement(ours: Clicked, other: Clicked) -> float:
    if not (isinstance(ours, SnapClicks) and isinstance(other, SnapClicks)):
        return float(ours.mask == other.mask)
    both = np.count_nonzero(ours.voxels) + np.count_nonzero(other.voxels)
    return 1.0 if both == 0 else 2 * np.count_nonzero(ours.voxels & other.voxels) / both


@dataclass
class TimedWire(Wire):
    """Knows how long the last request took."""

    seconds: float = 0.0

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "") -> Answer:
        start = perf_counter()
        answer = super().ask(method, path, body, kind)
        self.seconds = perf_counter() - start
        return answer


@dataclass
class SnapClicks:
    """Clicks as ITK-SNAP sends them, one label after the other."""

    port: int
    image: Image
    mask: str = ""

    def __post_init__(self) -> None:
        self._wire = TimedWire(self.port)
        self._snap = ItkSnap(self._wire, 2)
        self._snap.connect()
        self._label = 0
        self.voxels = np.zeros(self.image.voxels.shape, np.uint8)

    def start_over(self) -> None:
        self._label += 1

    def click(self, one: Click) -> float:
        (k, j, i), include = one
        self.voxels = self._snap.click(self.image, (i, j, k), self._label, include)
        elapsed = self._wire.seconds
        self.mask = hashlib.sha256(self.voxels).hexdigest()
        return elapsed


def _first_mask(port: int, image: Image) -> None:
    """A new session, the image, one click."""
    snap = ItkSnap(Wire(port), 2)
    k, j, i = (round(n * 0.6) for n in image.voxels.shape)
    snap.click(image, (i, j, k))
    snap.wire.get(f"/v2/end_session/{snap.session}")


def _phantom(shape: Shape) -> NDArray[np.float32]:
    """Noise with organs in it, as float32, which is how ITK-SNAP sends everything."""
    noise = np.random.default_rng(0).normal(0, 12, shape)
    return (noise + 100 * (blobs(shape, 5) > 0)).round().astype(np.float32)
