"""How far a training run has come, on disk: what a killed run goes on from, and what it ends in.

    checkpoint.pt              the network, the trainer's state, and the best epoch so far
    best.pt                    the network after that epoch
    candidate/                 a version folder in the making: the spec, snapshots, in the end the weights

Every file appears whole or not at all. A run killed between two of them repeats an epoch, with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Where a run stands after an epoch. `best` is the Dice of the best epoch, 0 without validation cases."""

    epoch: int = 0
    best_epoch: int = 0
    best: float = 0.0
    state: Mapping[str, Any] | None = None


class Checkpoints:
    """The files of one run, in `folder`. Of a run of `total` epochs, `snapshots` epochs spread over the second half are
    kept beside the weights: neighbouring epochs at the end of a run hardly differ, and could not disagree."""

    def __init__(self, folder: Path, total: int, snapshots: int) -> None:
        self._folder = folder
        self._keep = {max(1, round(total * (0.5 + 0.5 * n / snapshots))) for n in range(snapshots)}
        self.done = RunState()

    @property
    def candidate(self) -> Path:
        return self._folder / "candidate"

    def spec(self, proposed: ModelSpec) -> ModelSpec:
        """What this run trains: decided by its first attempt."""
        if (self.candidate / "model.json").exists():
            return read_version(self.candidate).spec
        return write_version(self.candidate, proposed).spec

    def network(self, spec: ModelSpec, parent: Version | None, seed: int) -> torch.nn.Module:
        """The network as the last attempt left it; else with the parent's weights wherever they fit; else fresh."""
        import torch

        torch.manual_seed(seed)
        network = build_network(spec)
        if (self._folder / "checkpoint.pt").exists():
            kept = torch.load(self._folder / "checkpoint.pt", map_location="cpu", weights_only=True)
            network.load_state_dict(kept["network"])
            self.done = RunState(kept["epoch"], kept["best_epoch"], kept["best"], kept["state"])
        elif parent is not None and parent.weights is not None:
            _warm_start(network, read_weights(parent.weights, parent.sha256))
        return network

    def keep(self, epoch: Epoch, network: torch.nn.Module) -> RunState:
        """Take note of an epoch. Durable when this returns."""
        import torch

        weights = network.state_dict()
        best_epoch, best = self.done.best_epoch, self.done.best
        dice = float(epoch.metrics.get("dice", 0.0))
        # Without validation cases every Dice is 0, and the last epoch counts.
        if dice >= best:
            best_epoch, best = epoch.number, dice
            write_durably(self._folder / "best.pt", lambda file: torch.save(weights, file))
        if epoch.number in self._keep:
            write_snapshot(self.candidate, epoch.number, weights)
        content = {"network": weights, "state": dict(epoch.state), "epoch": epoch.number}
        content |= {"best_epoch": best_epoch, "best": best}
        write_durably(self._folder / "checkpoint.pt", lambda file: torch.save(content, file))
        self.done = RunState(epoch.number, best_epoch, best, epoch.state)
        return self.done

    def finish(self, spec: ModelSpec) -> Version:
        """The candidate, whole, with the best epoch's weights."""
        return write_version(self.candidate, spec, read_weights(self._folder / "best.pt"))

    def clear(self) -> None:
        """Remove what only an unfinished run needs."""
        for name in ("checkpoint.pt", "best.pt"):
            (self._folder / name).unlink(missing_ok=True)


def _warm_start(network: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Take over every tensor of the same name and shape: with a new structure only the last layer starts afresh."""
    own = network.state_dict()
    network.load_state_dict({name: weights[name] for name in own if _fits(weights.get(name), own[name])}, strict=False)


def _fits(given: torch.Tensor | None, own: torch.Tensor) -> bool:
    return given is not None and given.shape == own.shape
