"""What more patches buy in a click: `python -m bench.patch_limits`. Dice, patches and seconds of simulated clicks on
the starter model's held-out phantoms, for the bare library's own plan and for limits of patches besides the first.

Patches are counted, so a busy machine changes nothing about them. Seconds are one thread's processor time; a patch that
another limit asked for already is not computed again, and counts as much as the average one.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from app.core.robot import Robot
from app.core.volume import Geometry, Volume
from app.models.device import Device
from app.models.nninteractive.folder import find_folder
from app.models.nninteractive.model import NnInteractive
from app.simulation.scores import dice
from bench.starter_model.phantoms import Phantom, held_out_kinds

LIMITS = (None, 0, 2, 3, 4, 6, 1000)


@dataclass
class Found:
    """Of every click with one limit: its number, Dice after it, patches, seconds."""

    clicks: list[tuple[int, float, int, float]] = field(default_factory=list)

    def row(self, limit: int | None, clicks: int) -> str:
        numbers, scores, patches, seconds = (np.array(column) for column in zip(*self.clicks, strict=True))
        name = "library" if limit is None else "no limit" if limit >= 1000 else str(limit)
        means = " | ".join(f"{scores[numbers == n].mean():.3f}" for n in range(clicks))
        counted = f"{patches.mean():.1f} | {np.percentile(patches, 95):.0f} | {patches.max()}"
        spent = f"{np.median(seconds):.2f} | {np.percentile(seconds, 95):.2f} | {seconds.max():.2f}"
        return f"| {name} | {means} | {counted} | {spent} |"


class Counted(torch.nn.Module):
    """A network that counts its forward passes and knows the answers it has given before. `spent` is the processor time
    within it, and `each` that of one pass."""

    def __init__(self, network: torch.nn.Module, known: dict[bytes, torch.Tensor]) -> None:
        super().__init__()
        self.network = network
        self.known = known
        self.count = 0
        self.spent = 0.0

    each: ClassVar[list[float]] = []

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        start = time.thread_time()
        self.count += 1
        digest = hashlib.sha256(patch.numpy().tobytes()).digest()
        if digest not in self.known:
            self.known[digest] = self.network(patch).argmax(1, keepdim=True).byte()
            self.each.append(time.thread_time() - start)
        mask = self.known[digest].float()
        self.spent += time.thread_time() - start
        return torch.cat([1 - mask, mask], 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--cases", type=int, default=2, help="of each kind of phantom")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--kinds", nargs="*", default=["long tube", "torus", "superquadric", "union", "ct"])
    arguments = parser.parse_args()
    device = Device("cpu", threads=1)
    found = {limit: Found() for limit in LIMITS}
    with tempfile.TemporaryDirectory() as folder:
        free = Path(shutil.copytree(find_folder("starter"), Path(folder) / "starter"))
        (free / "segloop.json").write_text('{"guard": true}')
        models = {limit: NnInteractive("starter", free, device, patches=limit) for limit in LIMITS}
        for number, kind in enumerate(held_out_kinds()):
            for case in range(arguments.cases if kind.name in arguments.kinds else 0):
                phantom = kind.make(np.random.default_rng([number, case + arguments.first]))
                known: dict[bytes, torch.Tensor] = {}
                for limit, model in models.items():
                    _click_through(phantom, model, known, found[limit], arguments.clicks)
                print(f"{kind.name} {case + arguments.first}", flush=True)
                for limit in LIMITS:
                    print(found[limit].row(limit, arguments.clicks), flush=True)


def _click_through(
    phantom: Phantom, model: NnInteractive, known: dict[bytes, torch.Tensor], found: Found, clicks: int
) -> None:
    k, j, i = phantom.image.shape
    session = model.open(Volume(phantom.image, Geometry((k, j, i), np.eye(4))), {})
    library = session._library  # type: ignore[attr-defined]
    network = library.network = Counted(library.network, known)
    truth = phantom.labels == 1
    for number in range(clicks):
        prompt = Robot().next_prompt(truth, session.mask > 0)
        network.count, network.spent, start = 0, 0.0, time.thread_time()
        if prompt is not None:
            session.add(prompt)
        around = time.thread_time() - start - network.spent
        seconds = around + network.count * float(np.mean(Counted.each))
        found.clicks.append((number, dice(truth, session.mask > 0), network.count, seconds))
    session.close()


if __name__ == "__main__":
    main()
