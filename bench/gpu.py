"""What a graphics card makes of it: `python -m bench gpu`, one command, results in `bench/RESULTS-gpu.md`.

- forward: a network of nnInteractive's official size on a patch of 192³, in the served precision: eager, compiled, and
  compiled with channels last and an instance norm that keeps them (torch's own falls back to contiguous tensors,
  pytorch#59168; masks are then no longer bit-equal, so nothing serves it). Against the card's floor: the network's
  floating-point operations at the speed of a large matrix product in the same run.
- clicks: 1, 4 and 16 people click at once through nnInteractive's client on an image of 512x512x300. The weights are
  made up and answer nothing, so a click is one patch: what zooming out and refining add depends on what is seen.
- memory: what the card's memory grows by per open session.
- training: epochs of the default trainer at its default size; the card's utilisation meanwhile, and one person's
  clicks beside it against their clicks on the idle card.
- scoring: unlabelled cases scored a minute.

`--quick` runs it on whatever device there is, with a tiny network, to see that it runs.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from app.models.precision import choose, in_precision
from app.workspace import Workspace
from bench.data import Plan, blobs, ct, write_nifti
from bench.info import publish_random_weights
from bench.measure import Contender, Timing, interleave
from bench.nninteractive import phantom, places, remote, timed
from bench.report import Row, ratio, seconds
from bench.server import Server, serving
from bench.submit import sender
from tests.models.folders import clicked_nninteractive, tiny_nninteractive

PATCH = 192
PEOPLE = (1, 4, 16)
CASES = 12
LEAST_BUSY = 80
"""Percent of the time that the card shall be busy while it trains."""
FEATURES = (32, 64, 128, 256, 320, 320)
BLOCKS = (1, 3, 4, 6, 6, 6)
TRAINING_SECONDS = 300.0


def run(plan: Plan) -> list[Row]:
    if not torch.cuda.is_available() and not plan.quick:
        raise RuntimeError("there is no CUDA device; --quick runs this on the processor with a tiny network")
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    weights = model_folder(plan.new_folder("gpu") / "model", official=not plan.quick)
    return [*_forward(plan, weights, device), *_served(plan, weights, device)]


def model_folder(folder: Path, *, official: bool) -> Path:
    """A folder in nnInteractive's format with random weights, of the official model's size or tiny."""
    if not official:
        return clicked_nninteractive(folder, patch=64)
    tiny_nninteractive(folder, patch=64)
    file = folder / "plans.json"
    plans = json.loads(file.read_text())
    configuration = plans["configurations"]["3d_fullres"]
    configuration["patch_size"] = [PATCH] * 3
    architecture = configuration["architecture"]
    architecture["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    arguments = architecture["arch_kwargs"]
    del arguments["n_conv_per_stage"]
    stages = len(FEATURES)
    arguments.update(
        n_stages=stages,
        features_per_stage=list(FEATURES),
        kernel_sizes=[[3, 3, 3]] * stages,
        strides=[[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        n_blocks_per_stage=list(BLOCKS),
        n_conv_per_stage_decoder=[1] * (stages - 1),
    )
    file.write_text(json.dumps(plans))
    checkpoint = folder / "fold_0" / "checkpoint_final.pth"
    saved = torch.load(checkpoint, weights_only=True)
    saved["network_weights"] = weights = _network(folder).state_dict()
    for name, value in weights.items():
        if ".seg_layers." in name:
            value[:] = 0
            value[0] = 1  # background, or next to nothing else
    torch.save(saved, checkpoint)
    return folder


def _network(folder: Path) -> nn.Module:
    from nnInteractive.trainer.nnInteractiveTrainer import nnInteractiveTrainer_stub
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(json.loads((folder / "plans.json").read_text()))
    torch.manual_seed(0)
    network: nn.Module = nnInteractiveTrainer_stub.build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 8, 2, enable_deep_supervision=False
    )
    return network.eval().requires_grad_(False)


class ChannelsLastNorm(nn.Module):
    """An instance norm by plain arithmetic, which a compiler fuses and which keeps the memory format it is given."""

    def __init__(self, norm: nn.InstanceNorm3d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of (batch, channels, k, j, i)."""
        wide = x.float()
        variance, mean = torch.var_mean(wide, (2, 3, 4), correction=0, keepdim=True)
        shape = (1, -1, 1, 1, 1)
        assert self.norm.weight is not None
        scaled = (wide - mean) * (variance + self.norm.eps).rsqrt() * self.norm.weight.view(shape)
        return (scaled + self.norm.bias.view(shape)).to(x.dtype)


def channels_last(network: nn.Module) -> nn.Module:
    """The network with its instance norms replaced, its weights with channels last."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.InstanceNorm3d):
                setattr(module, name, ChannelsLastNorm(child))
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]


def _forward(plan: Plan, weights: Path, device: str) -> list[Row]:
    patch = 32 if plan.quick else PATCH
    given = torch.randn(1, 8, patch, patch, patch, device=device)
    precision = choose("auto", device)
    plain = in_precision(_network(weights).to(device), precision, device)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        plain(given)
    work = counter.get_total_flops()
    networks = {
        "eager": (plain, given),
        "compiled": (torch.compile(plain), given),
        "compiled, channels last": (
            torch.compile(in_precision(channels_last(_network(weights)).to(device), precision, device)),
            given.to(memory_format=torch.channels_last_3d),
        ),
    }

    def forward(network: Callable[..., torch.Tensor], x: torch.Tensor) -> Callable[[], None]:
        def once() -> None:
            with torch.inference_mode():
                network(x)
            _wait(device)

        return once

    contenders = {name: Contender(forward(*given)) for name, given in networks.items()}
    contenders["floor"] = Contender(_matrix_product(work, precision, device))
    times = interleave(contenders, plan.repeats(20))
    what = f"forward of {patch}³, {work / 1e12:.3g} TFLOP, {precision}"
    return [ratio("gpu", f"{what}, {name}", times[name], "floor", times["floor"], None) for name in networks]


def _matrix_product(work: int, precision: str, device: str) -> Callable[[], None]:
    """As many floating-point operations in products of large square matrices."""
    size = 4096 if device != "cpu" else 512
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
    left, right = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    count = max(1, round(work / (2 * size**3)))

    def multiply() -> None:
        for _ in range(count):
            left @ right
        _wait(device)

    return multiply


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _served(plan: Plan, weights: Path, device: str) -> list[Row]:
    """Clicks, training and scoring through the server."""
    series = ct(plan)
    folder = plan.new_folder("served")
    studies = copies(plan, folder / "studies", 2 if plan.quick else CASES)
    models = {
        "nninteractive": {"type": "nninteractive", "source": str(weights)},
        "segmentation": {"type": "segmentation", "trainer": "segmentation"},
    }
    settings = {"device": device, "labels": {"structures": [f"structure {n}" for n in range(1, 6)]}}
    publish_random_weights(Workspace.open(folder / "workspace"))
    with serving(studies, folder / "workspace", models, **settings) as server:
        voxels = phantom(plan.shape)
        rows = [_clicks(plan, server, voxels, people) for people in ((1, 2) if plan.quick else PEOPLE)]
        rows.append(_memory(plan, server, voxels))
        count = 2 if plan.quick else CASES
        server.wait_for_cases(count)
        send = sender(server, folder)
        file = write_nifti(blobs(plan.shape, 5), series.geometry, folder / "label.nii.gz")
        cases = [case["id"] for case in server.request("GET", "/api/v1/cases").json()["cases"]]
        for case_id in cases[: max(1, count // 2)]:
            send(case_id, file)
        rows.append(_scoring(server))
        rows += _training(plan, server, voxels)
    return rows


def copies(plan: Plan, folder: Path, count: int) -> Path:
    """So many series with other UIDs, each of a patient of its own."""
    import pydicom
    from pydicom.uid import generate_uid

    for number in range(count):
        place = folder / str(number)
        place.mkdir(parents=True)
        study, series = generate_uid(), generate_uid()
        for file in ct(plan).files:
            dataset = pydicom.dcmread(file)
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.PatientID = f"patient {number}"
            dataset.save_as(place / file.name)
    return folder


def _clicks(plan: Plan, server: Server, voxels: np.ndarray, people: int) -> Row:
    """Seconds of every click of so many people who click at the same time."""
    with ExitStack() as stack, ThreadPoolExecutor(people) as pool:
        sessions = [stack.enter_context(opened(server, voxels)) for _ in range(people)]
        rounds = plan.repeats(5, quick=1)

        def click_on(number: int) -> list[float]:
            session = sessions[number]
            found = []
            for turn in range(rounds):
                session.reset_interactions()
                for at in places(voxels.shape, turn * people + number):
                    found.append(timed(lambda at=at: session.add_point_interaction(at, True)))  # type: ignore[misc]
            return found

        taken = [second for found in pool.map(click_on, range(people)) for second in found]
    return _of_clicks(f"click, {people} at once", Timing(tuple(taken)))


def _of_clicks(what: str, times: Timing) -> Row:
    spread = f"{seconds(times.low)} to {seconds(times.high)}"
    result = f"p95 {seconds(times.percentile(95))}"
    return Row("gpu", what, seconds(times.median), spread, len(times.seconds), "", result, "", None)


@contextmanager
def opened(server: Server, voxels: np.ndarray) -> Iterator[Any]:
    """A session of nnInteractive's client on an image."""
    with remote(server.address) as session:
        session.set_image(voxels[None], {"spacing": [1.0, 0.7, 0.7]})
        session.set_target_buffer(np.zeros(voxels.shape, np.uint8))
        yield session


def _memory(plan: Plan, server: Server, voxels: np.ndarray) -> Row:
    """Bytes of the card's memory per session."""
    people = 2 if plan.quick else 8
    before = Card.sample(memory=True)
    with ExitStack() as stack:
        for number in range(people):
            session = stack.enter_context(opened(server, voxels))
            session.add_point_interaction(places(voxels.shape, number)[0], True)
        grown = Card.sample(memory=True) - before
    return Row("gpu", f"card's memory per session, {people} open", f"{grown / people:.0f} MiB", "", 1, "", "", "", None)


@dataclass
class Card:
    """The card's utilisation in percent, once a second while the block runs; empty without a card."""

    busy: list[float] = field(default_factory=list)

    @staticmethod
    def sample(*, memory: bool = False) -> float:
        if shutil.which("nvidia-smi") is None:
            return 0.0
        query = "memory.used" if memory else "utilization.gpu"
        command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "--id=0"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())

    @contextmanager
    def watched(self) -> Iterator[Card]:
        done = threading.Event()

        def watch() -> None:
            while not done.wait(1.0):
                self.busy.append(self.sample())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join()


def _scoring(server: Server) -> Row:
    """Unlabelled cases scored by every method, from the order until it is done."""
    start = time.perf_counter()
    server.post_json("/scoring/", {})
    while _running(server, "/scoring/"):
        time.sleep(0.1)
    took = time.perf_counter() - start
    cases = server.info()["datastore"]
    count = cases["total"] - cases["completed"]
    return Row("gpu", f"{count} cases scored", seconds(took), "", 1, "", f"{60 * count / took:.1f} a minute", "", None)


def _running(server: Server, path: str) -> bool:
    return server.request("GET", path).json()["status"] in {"RUNNING", "PENDING"}


def _training(plan: Plan, server: Server, voxels: np.ndarray) -> list[Row]:
    """The card's utilisation during a training alone, clicks beside it, and cases scored a minute afterwards."""
    rows = []
    limit = 20.0 if plan.quick else TRAINING_SECONDS
    with opened(server, voxels) as session:
        idle = [timed(lambda at=at: session.add_point_interaction(at, True)) for at in places(voxels.shape, 90)]  # type: ignore[misc]
        server.post_json("/train/segmentation", {"max_epochs": 1000})
        with Card().watched() as card:
            time.sleep(limit)
        busy = median(card.busy) if card.busy else 0.0
        met = busy >= LEAST_BUSY if not plan.quick else None
        what, target = f"training for {limit:.0f} s: the card is busy", f"at least {LEAST_BUSY} %"
        rows.append(Row("gpu", what, f"{busy:.0f} %", "", len(card.busy), "", "", target, met))
        session.reset_interactions()
        beside = [timed(lambda at=at: session.add_point_interaction(at, True)) for at in places(voxels.shape, 90)]  # type: ignore[misc]
        rows.append(
            ratio("gpu", "click beside a training", Timing(tuple(beside)), "idle card", Timing(tuple(idle)), 1.25)
        )
    server.request("DELETE", "/train/")
    return rows
