"""Checkpoints of a training run, from which a killed run resumes, and its candidate.

    checkpoint.pt              the network, the trainer's state, and the best epoch so far
    best.pt                    the network after that epoch
    candidate/                 an incomplete version folder: the spec, snapshots, and at the end the weights

Files are written atomically. A run that is killed between two of them repeats an epoch, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.core.training import Epoch, ModelSpec
from app.durable import write_durably
from app.models.trained.networks import build_network
from app.models.trained.spec import Version, read_version, read_weights, write_snapshot, write_version

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class RunState:
    """The state of a run after an epoch. `best` is the Dice of the best epoch, 0 without validation cases."""

    epoch: int = 0
    best_epoch: int = 0
    best: float = 0.0
    state: Mapping[str, Any] | None = None


class Checkpoints:
    """The files of a run of `total` epochs, in `folder`. Weights of `snapshots` epochs, spread over its second half,
    are kept for epistemic scores: consecutive epochs at the end of a run hardly differ.

    `base` builds a network with weights that are kept elsewhere. Then only those that differ are: what is trained, and
    what the parent has."""

    def __init__(
        self, folder: Path, total: int, snapshots: int, base: Callable[[ModelSpec], torch.nn.Module] | None = None
    ) -> None:
        self._folder = folder
        self._base = base
        self._inherited: frozenset[str] = frozenset()
        self._keep = {max(1, round(total * (0.5 + 0.5 * n / snapshots))) for n in range(snapshots)}
        self.done = RunState()

    @property
    def candidate(self) -> Path:
        return self._folder / "candidate"

    def spec(self, proposed: ModelSpec) -> ModelSpec:
        """The spec of this run: `proposed` at the first attempt, which later attempts keep."""
        if (self.candidate / "model.json").exists():
            return read_version(self.candidate).spec
        return write_version(self.candidate, proposed).spec

    def network(self, spec: ModelSpec, parent: Version | None, seed: int) -> torch.nn.Module:
        """The network of the last checkpoint; else with the parent's weights where they fit; else newly initialized, or
        as the base."""
        import torch

        torch.manual_seed(seed)
        network = build_network(spec) if self._base is None else self._base(spec)
        if parent is not None and parent.weights is not None:
            weights = read_weights(parent.weights, parent.sha256)
            self._inherited = frozenset(weights)
            _warm_start(network, weights)
        if (self._folder / "checkpoint.pt").exists():
            kept = torch.load(self._folder / "checkpoint.pt", map_location="cpu", weights_only=True)
            network.load_state_dict(kept["network"], strict=self._base is None)
            self.done = RunState(kept["epoch"], kept["best_epoch"], kept["best"], kept["state"])
        return network

    def keep(self, epoch: Epoch, network: torch.nn.Module) -> RunState:
        """Write the checkpoint of an epoch. Durable when this returns."""
        import torch

        weights = network.state_dict() if self._base is None else _differing(network, self._inherited)
        best_epoch, best = self.done.best_epoch, self.done.best
        dice = float(epoch.metrics.get("dice", 0.0))
        # Without validation cases every Dice is 0, and the last epoch is the best.
        if dice >= best:
            best_epoch, best = epoch.number, dice
            write_durably(self._folder / "best.pt", lambda file: torch.save(weights, file))
        if epoch.number in self._keep:
            write_snapshot(self.candidate, epoch.number, weights)
        content: dict[str, Any] = {"network": weights, "state": dict(epoch.state), "epoch": epoch.number}
        content |= {"best_epoch": best_epoch, "best": best}
        write_durably(self._folder / "checkpoint.pt", lambda file: torch.save(content, file))
        self.done = RunState(epoch.number, best_epoch, best, epoch.state)
        return self.done

    def finish(self, spec: ModelSpec) -> Version:
        """Complete the candidate with the best epoch's weights."""
        return write_version(self.candidate, spec, read_weights(self._folder / "best.pt"))

    def clear(self) -> None:
        """Remove the files that only an unfinished run needs."""
        for name in ("checkpoint.pt", "best.pt"):
            (self._folder / name).unlink(missing_ok=True)


def _warm_start(network: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy every tensor of the same name and shape: with a new structure only the last layer is newly initialized."""
    own = network.state_dict()
    network.load_state_dict({name: weights[name] for name in own if _fits(weights.get(name), own[name])}, strict=False)


def _differing(network: torch.nn.Module, inherited: Collection[str]) -> Mapping[str, torch.Tensor]:
    """The state of a network without the parameters that don't learn, unless they are `inherited`."""
    import torch

    return {
        name: value.detach()
        for name, value in network.state_dict(keep_vars=True).items()
        if name in inherited or value.requires_grad or not isinstance(value, torch.nn.Parameter)
    }


def _fits(given: torch.Tensor | None, own: torch.Tensor) -> bool:
    return given is not None and given.shape == own.shape
