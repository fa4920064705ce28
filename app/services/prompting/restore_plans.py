"""How a parked session comes back: from its snapshot, by predicting again, or from its mask alone.

The rule (docs/decisions/0007): nobody's mask ever changes on its own. A session goes on with the weights it was opened
with, from its snapshot and the steps after it, or from all its steps. If those weights are gone, or the snapshot is of
another version of the program, it goes on from the mask that the snapshot kept, provided that nothing was done after
it. Else it doesn't come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveModel
from app.errors import UnknownSession
from app.services.models import ModelService
from app.services.prompting.log import SessionLog, SessionRecord, Step
from app.services.prompting.replay import options_of, version_after, worth_replaying
from app.services.prompting.snapshots import Snapshot, Snapshots


@dataclass(frozen=True, eq=False)
class RestorePlan:
    """One way for a session to come back: open `model`, whose weights must be `version` ("" for any), take up the
    `snapshot`, do the `steps`, and then adopt a mask."""

    model: InteractiveModel
    version: str = ""
    snapshot: Snapshot | None = None
    steps: Sequence[Step] = ()
    adopted: NDArray[np.uint8] | None = None


class RestorePlans:
    def __init__(self, log: SessionLog, snapshots: Snapshots, models: ModelService) -> None:
        self._log = log
        self._snapshots = snapshots
        self._models = models

    def of(self, record: SessionRecord) -> Iterator[RestorePlan]:
        """The ways that keep the mask as it was, best first; a later one is for when an earlier one turns out not to
        fit. Raises `UnknownSession` in place of the first if there is none, and what `ModelService.interactive` and
        `SessionLog.steps` raise."""
        snapshot = self._snapshots.newest(record)
        steps = self._log.steps(record)
        version = version_after(record, steps)
        own = self._models.interactive_at(record.model, version)
        if own is not None and snapshot is not None and snapshot.version == version:
            yield RestorePlan(own, version, snapshot, steps[snapshot.steps :])
        if snapshot is not None and snapshot.steps == len(steps):
            yield self._adopting(record, steps, snapshot.mask)
        elif own is not None:
            yield RestorePlan(own, version, steps=worth_replaying(steps))
            # Another version may have begun to be served before this one was opened; it is in the store now.
            yield RestorePlan(
                self._models.interactive_at(record.model, version) or own, version, steps=worth_replaying(steps)
            )
        elif options_of(steps) == worth_replaying(steps):  # nothing is drawn
            yield self._adopting(record, steps, np.zeros(record.shape, np.uint8))
        else:
            raise UnknownSession(
                f"the weights that made this session's mask ({record.model}, version {version}) are no longer here;"
                " open the image again"
            )

    def _adopting(self, record: SessionRecord, steps: Sequence[Step], mask: NDArray[np.uint8]) -> RestorePlan:
        return RestorePlan(self._models.interactive(record.model), steps=options_of(steps), adopted=mask)
