"""nnInteractive (Isensee et al., arXiv 2503.08373) goes on learning from the labels at hand.

With `weights: affine` only the scales and shifts of the normalisation layers change, as in CLoPA (arXiv 2603.06426): a
few kilobytes for the starter model, a few hundred for official weights, and little that can be unlearnt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from app.core.training import Epoch, ModelSpec, Sample, TrainingRun
from trainers import _losses
from trainers._canvas import Layout
from trainers._clicking import Clicking, Habits, Target
from trainers._epochs import dice, epochs, forward

_NORMS = (
    torch.nn.GroupNorm,
    torch.nn.LayerNorm,
    torch.nn.modules.batchnorm._NormBase,  # batch and instance normalisation
)
_RATES = {"affine": 5e-3, "all": 3e-4}
_MEASURED = 6
_MEASURED_CLICKS = 2


@dataclass(frozen=True)
class NnInteractive:
    """Fine-tunes the interactive model on the labelled structures, from simulated prompts.

    `weights` is `affine` (of the normalisation layers) or `all`. An episode is one structure of a case: a click in its
    middle, then up to `clicks` corrections of the largest error of the network's own mask. A share `drawn` of the
    prompts is a box, a lasso or a scribble instead, as far as the model takes them. `learning_rate` 0 chooses by
    `weights`.
    """

    model_types: ClassVar[tuple[str, ...]] = ("nninteractive",)

    weights: str = "affine"
    clicks: int = 3
    drawn: float = 0.15
    batch: int = 2
    steps_per_epoch: int = 10
    learning_rate: float = 0.0

    def __post_init__(self) -> None:
        if self.weights not in _RATES:
            raise ValueError(f"weights is affine or all, not {self.weights!r}")
        if self.clicks < 0 or self.batch < 1 or self.steps_per_epoch < 1 or not 0 <= self.drawn <= 1:
            raise ValueError("clicks is from 0, batch and steps_per_epoch from 1, drawn from 0 to 1")

    def spec(self, labels: Sequence[str], parent: ModelSpec | None) -> ModelSpec:
        if parent is None:
            raise ValueError("an nnInteractive model goes on from weights that it has; it isn't trained from nothing")
        Layout.of(parent.arguments["input"])
        return replace(parent, labels=tuple(labels))

    def train(self, run: TrainingRun) -> Iterator[Epoch]:
        _choose_what_learns(run.network, self.weights)
        source = _Source(run, run.train, Habits(self.clicks, self.drawn, varied=True))
        measured = _Source(run, run.validate, Habits(_MEASURED_CLICKS - 1, 0.0, varied=False))
        batch = _Batch(self.batch, source)

        def loss_of(rng: np.random.Generator) -> torch.Tensor:
            return batch.loss(run, rng)

        rate = self.learning_rate or _RATES[self.weights]
        return epochs(run, rate, self.steps_per_epoch, loss_of, lambda: _measure(run, measured))


def _choose_what_learns(network: torch.nn.Module, weights: str) -> None:
    for parameter in network.parameters():
        parameter.requires_grad_(weights == "all")
    if weights == "all":
        return
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    affine = [parameter for module in norms for parameter in module.parameters(recurse=False)]
    if not affine:
        raise ValueError("this network's normalisation has no weights; train with weights: all")
    for parameter in affine:
        parameter.requires_grad_(True)


class _Source:
    """Episodes about random structures of random cases."""

    def __init__(self, run: TrainingRun, samples: Sequence[Sample], habits: Habits) -> None:
        self._samples = samples
        self._habits = habits
        self._layout = Layout.of(run.spec.arguments["input"])
        self._patch = run.spec.patch
        self._targets: dict[int, list[Target]] = {}

    def draw(self, rng: np.random.Generator) -> Clicking | None:
        """None if nothing is segmented in the case that was drawn."""
        number = int(rng.integers(len(self._samples)))
        sample = self._samples[number]
        if number not in self._targets:
            self._targets[number] = Target.all_of(sample)
        targets = self._targets[number]
        if not targets:
            return None
        return Clicking(sample, targets[rng.integers(len(targets))], self._layout, self._patch, self._habits, rng)


@dataclass
class _Batch:
    """Episodes in progress. The forward pass of a training step is also the prediction that the next prompt corrects,
    so corrections cost no pass of their own."""

    size: int
    source: _Source
    episodes: list[Clicking] = field(default_factory=list)
    rng: np.random.Generator | None = None

    def loss(self, run: TrainingRun, rng: np.random.Generator) -> torch.Tensor:
        if rng is not self.rng:
            # Another epoch begins with new episodes, so that a run that is resumed goes on as one that wasn't
            # interrupted.
            self.rng, self.episodes = rng, []
        self.episodes = [one for one in self.episodes if not one.finished]
        for _ in range(20 * self.size):  # cases without any structure are drawn in vain
            if len(self.episodes) == self.size:
                break
            one = self.source.draw(rng)
            self.episodes += [one] if one is not None and not one.finished else []
        if not self.episodes:
            return torch.stack([p.sum() * 0 for p in run.network.parameters() if p.requires_grad]).sum()
        logits = _answers(run, self.episodes)
        target, known = (
            torch.from_numpy(np.stack(part))[:, None].to(run.device)
            for part in zip(*(one.target() for one in self.episodes), strict=True)
        )
        loss = _losses.binary(logits, target, known)
        for one, answer in zip(self.episodes, logits.detach().cpu().numpy(), strict=True):
            one.absorb(answer[0] > 0)
        return loss


def _answers(run: TrainingRun, episodes: Sequence[Clicking]) -> torch.Tensor:
    """Logits of the structure against the background, `(batch, 1, k, j, i)`."""
    inputs = torch.from_numpy(np.stack([one.view() for one in episodes])).to(run.device)
    logits = forward(run.network, inputs)
    return logits[:, 1:2] - logits[:, 0:1]


def _measure(run: TrainingRun, source: _Source) -> dict[str, float]:
    """Dice in the patch, the mean after one and after two clicks, of the same structures in every epoch and run."""
    labels = run.spec.labels
    overlap, sizes = dict.fromkeys(labels, 0), dict.fromkeys(labels, 0)
    for number in range(_MEASURED):
        one = source.draw(np.random.default_rng((1, number)))
        while one is not None and not one.finished:
            run.pause()
            target, known = one.target()
            answer = (_answers(run, [one])[0, 0].cpu().numpy() > 0) & known
            name = labels[one.structure - 1]
            overlap[name] += int((answer & target).sum())
            sizes[name] += int(answer.sum() + target.sum())
            one.absorb(answer)
    return dice(overlap, sizes)
