"""Click through the held-out phantoms with the real nnInteractive session: ``python -m bench.starter_model.evaluate``.

Every click goes to the centre of the largest error component. The network runs under bf16 autocast and each click is
followed by the guard, both as the server does it.
"""

import argparse
import contextlib
import io
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
from numpy.typing import NDArray
from torch import nn

from app.models.nninteractive.folder import read_folder
from app.models.nninteractive.guard import Click, Verdict, apply_guard
from app.models.nninteractive.patches import limit_patches
from bench.starter_model.phantoms import BoolArray, Phantom, Rng, held_out_kinds
from trainers._canvas import bounding_window, draw_on_slice, inner_point, largest_component, largest_error

CLICKS = 5
CT = "ct"
FIRST_PROMPTS = ("bbox", "lasso", "scribble")


class HalfPrecision(nn.Module):
    """Runs a network under bf16 autocast on the CPU and hands back float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 2, k, j, i) of an input (batch, 8, k, j, i)."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits: torch.Tensor = self.network(patch)
        return logits.float()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what nnInteractive prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def open_session(folder: Path, threads: int) -> nnInteractiveInferenceSession:
    """A session on the CPU with the model of ``folder``, in bf16 and with the folder's limit of patches."""
    with _quiet():
        session = nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=threads)
        session.initialize_from_trained_model_folder(str(folder))
    session.network = HalfPrecision(session.network.eval().requires_grad_(False))
    limit = read_folder(folder).patches
    if limit is not None:
        limit_patches(session, limit)
    return session


def dice(a: BoolArray, b: BoolArray) -> float:
    """Dice coefficient of two masks, 1 for two empty ones."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


@dataclass(frozen=True)
class Step:
    """One click: Dice over the whole volume before and after it, what the guard said, wall seconds."""

    before: float
    after: float
    verdict: Verdict
    seconds: float


@dataclass
class Case:
    """One phantom clicked through; ``first`` holds the Dice after a single prompt of another kind."""

    kind: str
    shape: str
    voxels: int
    steps: list[Step] = field(default_factory=list)
    first: dict[str, float] = field(default_factory=dict)

    def dice_after(self, clicks: int) -> float:
        """Dice after some clicks; a mask without errors needs none and keeps its Dice."""
        return self.steps[min(clicks, len(self.steps)) - 1].after


def _start(session: nnInteractiveInferenceSession, phantom: Phantom) -> NDArray[np.uint8]:
    """Give the session an image; returns the target buffer (k, j, i)."""
    buffer = np.zeros(phantom.image.shape, np.uint8)
    with _quiet():
        session.set_image(phantom.image[None])
        session.set_target_buffer(buffer)
        session._finish_preprocessing_and_initialize_interactions()
    return buffer


def click_through(
    session: nnInteractiveInferenceSession, phantom: Phantom, kind: str, guarded: bool = True, clicks: int = CLICKS
) -> Case:
    """Segment object 1 of a phantom click by click."""
    truth = phantom.labels == 1
    buffer = _start(session, phantom)
    case = Case(kind, phantom.shapes[0], int(truth.sum()))
    done: list[Click] = []
    score = 0.0
    for _ in range(clicks):
        error = largest_error(truth, buffer > 0)
        if error is None:
            break
        region, positive = error
        click = Click(inner_point(region), positive)
        verdict = Verdict.ACCEPTED
        with _quiet():
            start = time.perf_counter()
            before = buffer.copy()
            box = session.add_point_interaction(click.index, include_interaction=positive)
            if guarded:
                verdict = apply_guard(session, before, box, [*done, click])
            seconds = time.perf_counter() - start
        done.append(click)
        last, score = score, dice(truth, buffer > 0)
        case.steps.append(Step(last, score, verdict, seconds))
    return case


def first_prompts(session: nnInteractiveInferenceSession, phantom: Phantom, rng: Rng) -> dict[str, float]:
    """Dice after one box, one lasso or one scribble on a slice through object 1."""
    truth = phantom.labels == 1
    component = largest_component(truth)
    assert component is not None
    buffer = _start(session, phantom)
    scores = {}
    for kind in FIRST_PROMPTS:
        drawing = draw_on_slice(kind, component, rng)
        box = [[w.start, w.stop] for w in drawing.window]
        with _quiet():
            session.reset_interactions()
            if kind == "bbox":
                filled = bounding_window(drawing.mask)
                assert filled is not None
                box = [[a + f.start, a + f.stop] for (a, _), f in zip(box, filled, strict=True)]
                session.add_bbox_interaction(box, True)
            elif kind == "lasso":
                session.add_lasso_interaction(drawing.mask.astype(np.uint8), True, interaction_bbox=box)
            else:
                session.add_scribble_interaction(drawing.mask.astype(np.uint8), True, interaction_bbox=box)
        scores[kind] = dice(truth, buffer > 0)
    return scores


def evaluate(folder: Path, seed: int, share: float, threads: int, guarded: bool, others: bool) -> list[Case]:
    """All held-out cases (or a ``share`` of each kind) made from one seed; ``others``: try the other prompts too."""
    shapes, prompts = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    session = open_session(folder, threads)
    cases = []
    for kind in held_out_kinds():
        for _ in range(max(1, round(kind.count * share))):
            phantom = kind.make(shapes)
            case = click_through(session, phantom, kind.name, guarded)
            if others:
                case.first = first_prompts(session, phantom, prompts)
            cases.append(case)
            print(kind.name, case.voxels, " ".join(f"{step.after:.3f}" for step in case.steps), flush=True)
    return cases


def summary(cases: Iterable[Case]) -> dict[str, float]:
    """The figures of a group of cases."""
    cases = list(cases)
    corrections = [step for case in cases for step in case.steps[1:]]
    seconds = [step.seconds for case in cases for step in case.steps]
    figures: dict[str, float] = {"cases": len(cases)}
    for clicks in range(1, CLICKS + 1):
        values = [case.dice_after(clicks) for case in cases]
        figures[f"mean {clicks}"] = float(np.mean(values))
        figures[f"median {clicks}"] = float(np.median(values))
    losses = [step.before - step.after for step in corrections]
    figures["worst loss"] = max([0.0, *losses])
    figures["cases losing over 0.05"] = sum(
        any(step.before - step.after > 0.05 for step in case.steps[1:]) for case in cases
    )
    for verdict in (Verdict.RESTRICTED, Verdict.TOUCHED):
        figures[verdict.value] = sum(step.verdict is verdict for step in corrections) / max(1, len(corrections))
    figures["median seconds"] = float(np.median(seconds))
    figures["95 % seconds"] = float(np.quantile(seconds, 0.95))
    for prompt in FIRST_PROMPTS:
        scores = [case.first[prompt] for case in cases if prompt in case.first]
        if scores:
            figures[f"first {prompt}"] = float(np.mean(scores))
    return figures


def groups(cases: list[Case]) -> dict[str, list[Case]]:
    """Cases by kind, after the two sets that are reported apart: all isotropic ones and all CT-like ones."""
    result = {"all isotropic": [c for c in cases if c.kind != CT], "all CT-like": [c for c in cases if c.kind == CT]}
    for name in dict.fromkeys(c.kind for c in cases if c.kind != CT):
        result[name] = [c for c in cases if c.kind == name]
    return result


def markdown(figures: dict[str, dict[str, float]]) -> str:
    """Two tables: Dice by number of clicks, then what corrections and clicks cost."""
    lines = ["| set | cases | " + " | ".join(f"{n} click{'s'[: n > 1]}" for n in range(1, CLICKS + 1)) + " |"]
    lines.append("|---" * (CLICKS + 2) + "|")
    for name, row in figures.items():
        cells = [f"{row[f'mean {n}']:.3f} / {row[f'median {n}']:.3f}" for n in range(1, CLICKS + 1)]
        lines.append(f"| {name} | {row['cases']:.0f} | " + " | ".join(cells) + " |")
    lines += ["", "Dice over the whole volume, mean / median.", ""]
    lines.append(
        "| set | worst loss by one correction | cases losing over 0.05 | corrections restricted | only touched "
        "| median s a click | 95 % |"
    )
    lines.append("|---" * 7 + "|")
    for name, row in figures.items():
        lines.append(
            f"| {name} | {row['worst loss']:.3f} | {row['cases losing over 0.05']:.0f} | {row['restricted']:.1%} "
            f"| {row['touched']:.1%} | {row['median seconds']:.2f} | {row['95 % seconds']:.2f} |"
        )
    for prompt in FIRST_PROMPTS:
        scores = [f"{name} {row[key]:.3f}" for name, row in figures.items() if (key := f"first {prompt}") in row]
        if scores:
            lines.append(f"\nMean Dice after a single {prompt} instead of a click: {', '.join(scores)}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("app/models/starter"))
    parser.add_argument("--seed", type=int, default=20261120)
    parser.add_argument("--share", type=float, default=1.0, help="share of the held-out set, for a quick look")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--unguarded", action="store_true", help="measure the bare model")
    parser.add_argument("--other-prompts", action="store_true", help="try a box, a lasso and a scribble as well")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    arguments = parser.parse_args()
    cases = evaluate(
        arguments.model,
        arguments.seed,
        arguments.share,
        arguments.threads,
        guarded=not arguments.unguarded,
        others=arguments.other_prompts,
    )
    figures = {name: summary(group) for name, group in groups(cases).items() if group}
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(markdown(figures))
    print(markdown(figures))


if __name__ == "__main__":
    main()
