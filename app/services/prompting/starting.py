"""What a prompt session can start from besides an empty mask: an automatic model's mask, or a stored label version."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.mask import Mask, Segment
from app.core.prompt import InitialMask
from app.errors import BadInput
from app.services.automatic import AutomaticService
from app.services.labels import LabelService


@dataclass(frozen=True)
class Source:
    """One structure of an automatic model's mask (`model`), or of a label version (`label_id`). `structure` may be ""
    if there is only one."""

    model: str = ""
    label_id: int | None = None
    structure: str = ""


@dataclass(frozen=True)
class StartService:
    """Makes initial masks from sources. Thread-safe."""

    automatic: AutomaticService
    labels: LabelService

    def initial_mask(self, case_id: str, source: Source, who: str, refine: bool = False) -> InitialMask:
        """The structure's voxels on the case's grid, as a prompt; empty where it wasn't found. With `refine` the
        session's model looks at it again.

        Segmenting waits its turn below all clicks. Raises `BadInput` for a label of another case and for a structure
        that the source doesn't have, and what `AutomaticService.segment` and `LabelService.get` raise.
        """
        if bool(source.model) == (source.label_id is not None):
            raise BadInput("a session starts from a model or from a label: name one of them")
        if source.label_id is None:
            mask = self.automatic.segment(source.model, case_id, {}, who)
            segment = _segment(mask, source.structure, f"the model {source.model}")
        else:
            label = self.labels.get(source.label_id)
            if label.case_id != case_id:
                raise BadInput(f"label number {label.id} belongs to another case")
            mask = self.labels.mask(label)
            segment = _segment(mask, source.structure, f"version {label.number} by {label.author}")
        return InitialMask(mask.voxels_of(segment.number), refine)


def _segment(mask: Mask, structure: str, what: str) -> Segment:
    for segment in mask.segments:
        if segment.name == structure or (not structure and len(mask.segments) == 1):
            return segment
    names = ", ".join(segment.name for segment in mask.segments)
    raise BadInput(f"{what} has no {structure!r}; choose one of: {names}" if structure else f"choose one of: {names}")
