"""The files of label versions: immutable, and verified when read."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.catalog.labels import StoredFile
from app.core.case import Case
from app.core.label import Label, StructureState, Submission, states_of
from app.core.mask import Mask, Segment
from app.core.volume import Geometry
from app.dicom.parsing import parse
from app.dicom.seg import SegKind, SegOptions, write_seg
from app.dicom.seg_read import read_seg
from app.dicom.seg_record import record_of
from app.durable import file_sha256, write_durably
from app.errors import BadInput, IntegrityError
from app.formats.label_files import label_ending, read_label, write_label_file
from app.formats.volume_files import read_header
from app.workspace import safe_name, seg_beside

if TYPE_CHECKING:
    from pydicom import Dataset

logger = logging.getLogger(__name__)

_NAMESPACE = uuid.UUID("6f1d6a2e-5b0e-5b52-9c55-1f5a1e2b7d10")
"""The UUID namespace of label UIDs, so that a version always has the same UID."""


def derived_uid(*parts: object) -> str:
    """A DICOM UID (PS3.5 B.2, under 2.25) derived from the parts."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(str(part) for part in parts)).int}"


def label_series_uid(case: Case, tag: str) -> str:
    """The SeriesInstanceUID of a case's labels under a tag. The id of a volume file is the name of files elsewhere."""
    return derived_uid("series", (case.series_uid or case.id) if case.kind == "file" else case.id, tag)


@dataclass(frozen=True)
class RecordedLabel:
    """What the DICOM SEG of a version says by itself; enough to make its row in the catalog again. `volume_file` is the
    name of the labelmap beside it that the row is about, "" for a label of a series."""

    case_id: str
    number: int
    submission: Submission
    sop_instance_uid: str
    segments: tuple[Segment, ...]
    states: Mapping[str, StructureState]
    volume_file: str = ""


@dataclass(frozen=True)
class LabelStore:
    """`labels/<case>/<tag>/v0001-….dcm` (DICOM SEG of a series), or `.nii.gz`, `.nrrd` or `.mha` (labelmap of a volume
    file, in its format). Beside the labelmap of a volume file that is shown as a series is its DICOM SEG."""

    folder: Path
    seg_kind: SegKind

    def write(
        self, case: Case, submission: Submission, number: int, mask: Mask, headers: Sequence[Dataset]
    ) -> StoredFile:
        """Write a version's file durably. `headers` are those of the series, or those that a volume file is shown with,
        if it is."""
        place = self.folder / safe_name(case.id) / safe_name(submission.tag)
        unique = uuid.uuid4().hex[:8]  # concurrent writers may use the same number; the catalog accepts one of them
        name = f"v{number:04d}-{unique}"
        if case.kind == "series":
            final = place / f"{name}.dcm"
            options = self._options(final, case, submission, number, _record(case, submission, number, mask))
            digest = write_durably(final, lambda file: write_seg(mask, headers, file, options))
            return StoredFile(str(final.relative_to(self.folder)), digest, options.sop_instance_uid)
        ending = ".nii.gz" if mask.overlapping else label_ending(case.location)
        final = place / f"{name}{ending}"
        digest = write_durably(final, lambda file: write_label_file(mask, file, ending))
        stored = StoredFile(str(final.relative_to(self.folder)), digest, "")
        if not headers:
            return stored
        beside = self.folder / seg_beside(stored.path)
        record = {**_record(case, submission, number, mask), "volume_file": final.name}
        options = self._options(beside, case, submission, number, record)
        try:
            write_durably(beside, lambda file: write_seg(mask, headers, file, options))
        except BadInput as error:  # the labelmap is the label
            logger.warning("no DICOM SEG can be made for a label of a volume file: %s", error)
            return stored
        return replace(stored, sop_instance_uid=options.sop_instance_uid)

    def seg_of(self, label: Label) -> Path | None:
        """The DICOM SEG beside the labelmap of a volume file, if there is one."""
        beside = self.folder / seg_beside(label.path)
        return beside if label.sop_instance_uid and not label.path.endswith(".dcm") and beside.is_file() else None

    def remove(self, stored: StoredFile) -> None:
        """Remove the files of a version that never got a row."""
        (self.folder / stored.path).unlink()
        (self.folder / seg_beside(stored.path)).unlink(missing_ok=True)

    def _options(
        self, final: Path, case: Case, submission: Submission, number: int, record: Mapping[str, Any]
    ) -> SegOptions:
        """The attributes of a version's DICOM SEG."""
        tag = submission.tag
        return SegOptions(
            kind=self.seg_kind,
            sop_instance_uid=derived_uid("instance", case.series_uid or case.id, tag, number, final.name),
            series_uid=label_series_uid(case, tag),
            instance_number=number,
            series_description=f"Segloop {tag} v{number}",
            author=submission.author,
            created=datetime.now(UTC),
            record=record,
        )

    def recorded(self, file: Path) -> RecordedLabel | None:
        """What a stored DICOM SEG says of itself; None for one of an older segloop or of another program, whose empty
        segments nobody may have looked for. Raises `BadFile` and what else `read_seg` raises."""
        dataset = parse(file.read_bytes())
        record = record_of(dataset)
        if record is None:
            return None
        mask = read_seg(dataset).renamed(record["structures"])
        return RecordedLabel(
            case_id=record["case_id"],
            number=record["number"],
            submission=Submission(**record["submission"]),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            segments=mask.segments,
            states=states_of(mask),
            volume_file=str(record.get("volume_file", "")),
        )

    def states(self, label: Label) -> dict[str, StructureState]:
        """What a version's file says of its structures. In a file of an older segloop an empty segment may be one that
        nobody looked for: it is not examined. Raises `IntegrityError`, and what the file's reader raises."""
        file = self.intact(label)
        if file.suffix == ".dcm":
            recorded = self.recorded(file)
            if recorded is not None:
                return dict(recorded.states)
            mask = read_seg(file)
        else:
            mask = read_label(file, read_header(file).geometry, [segment.name for segment in label.segments])
        filled = mask.filled
        return {
            known.name: "segmented" if read.number in filled else "not_examined"
            for known, read in zip(label.segments, mask.segments, strict=True)
        }

    def path(self, label: Label) -> Path:
        return self.folder / label.path

    def read(self, label: Label, geometry: Geometry) -> Mask:
        """A version's mask on its case's grid. Raises `IntegrityError` if the file isn't what was written."""
        file = self.intact(label)
        if file.suffix == ".dcm":
            return read_seg(file, geometry).renamed([s.name for s in label.segments])
        names = [segment.name for segment in label.segments]
        mask = read_label(file, geometry, names)
        placed = zip(label.segments, mask.segments, strict=True)
        return Mask(mask.layers, tuple(replace(known, layer=read.layer) for known, read in placed), geometry)

    def intact(self, label: Label) -> Path:
        """The file of a version. Raises `IntegrityError` if it isn't what was written."""
        file = self.path(label)
        if not file.is_file() or file_sha256(file) != label.sha256:
            raise IntegrityError(f"the file of label {label.tag} v{label.number} of {label.case_id} is damaged or lost")
        return file


def _record(case: Case, submission: Submission, number: int, mask: Mask) -> dict[str, Any]:
    """What `LabelStore.recorded` reads: the states are those of the voxels, so they aren't repeated here."""
    said = {key: value for key, value in asdict(submission).items() if key != "info"}
    structures = [segment.name for segment in mask.segments]
    return {"case_id": case.id, "number": number, "submission": said, "structures": structures}
