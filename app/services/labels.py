"""Labels: submitting, reading back, history. Versions are never overwritten."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from app.archives.label_store import derived_uid
from app.core.case import CaseRow
from app.core.label import FINAL, Contribution, Label, StructureState, Submission, states_of, with_absent
from app.core.mask import Mask
from app.dicom.parsing import parse
from app.dicom.seg import SegOptions, write_seg
from app.dicom.seg_read import describe_all, read_seg
from app.durable import file_sha256, write_durably
from app.errors import BadInput, UnknownLabel
from app.formats.label_files import read_label, write_label_nifti
from app.project.label_commit import commit_label, shown_headers
from app.project.project import Project
from app.services.cases import CaseService, ImageFile
from app.services.models import ModelService
from app.services.structure_names import StructureNames
from app.workspace import safe_name


@dataclass(frozen=True)
class LabelService:
    """Commits and reads label versions. Thread-safe."""

    project: Project
    cases: CaseService
    models: ModelService

    def submit(
        self, case_id: str, file: Path, file_name: str, names: Sequence[str] | None, submission: Submission
    ) -> Label:
        """Commit a client's label file as the next version; it is durable when this returns.

        `names` are the structures of the values 1, 2, ...; None if the client sent none. A file that names its segments
        counts first. Raises `UnknownCase`, `BadFile`, `GeometryMismatch`, and `BadInput` for names that are missing or
        not the project's (`StructureNames.of`); then nothing has changed.
        """
        row = self.cases.get(case_id)
        geometry = self.cases.open(row).geometry
        if file_name.lower().endswith(".bin"):
            file = file.rename(file.with_suffix(".bin"))  # raw voxels are recognised by the extension only
        mask = read_label(file, geometry, names, max_bytes=self.project.settings.labels.max_upload_bytes)
        return self._commit(row, self._said(mask, None, names), file_sha256(file), submission)

    def submit_mask(
        self, case_id: str, mask: Mask, submission: Submission, absent: Collection[str] | None = None
    ) -> Label:
        """Commit a mask as the next version.

        `absent` are the structures that the annotator looked for and that aren't there; None if the client can't say.
        Raises `UnknownCase`, and `BadInput` if the mask isn't on the case's grid, says nothing, or has names that
        `StructureNames.of` refuses.
        """
        row = self._row_on_grid(case_id, mask)
        return self._commit(row, self._said(mask, absent), mask.sha256, submission)

    def check_mask(
        self, case_id: str, mask: Mask, absent: Collection[str] | None = None
    ) -> Mapping[str, StructureState]:
        """What `submit_mask` would store of each structure; it stores nothing. Raises the same."""
        self._row_on_grid(case_id, mask)
        return states_of(self._said(mask, absent))

    def keep_answer(self, case_id: str, mask: Mask, submission: Submission) -> Label:
        """Commit what a model made and nobody has looked at: its empty structures are not examined.

        Raises as `submit_mask`.
        """
        row = self._row_on_grid(case_id, mask)
        mask = self.names().of(mask)
        segments = (replace(s, algorithm="AUTOMATIC", algorithm_name=submission.model) for s in mask.segments)
        answer = Mask(mask.layers, tuple(segments), mask.geometry)
        version = submission.model_version or self.models.version(submission.model)
        return commit_label(self.project, row, answer, replace(submission, model_version=version), mask.sha256)

    def submit_seg(self, case_id: str, file: bytes, author: str, client: str) -> Label:
        """Commit a DICOM SEG from a viewer as the next final version; it is durable when this returns.

        Raises `UnknownCase`, `BadFile`, `UnusableSeries`, `GeometryMismatch`, `ResourceExhausted`, and `BadInput` as
        `submit`; nothing has changed then.
        """
        row = self.cases.get(case_id)
        geometry = self.cases.open(row).geometry
        limit = self.project.settings.labels.max_upload_bytes
        dataset = parse(file)
        describe_all(dataset, limit)
        mask = read_seg(dataset, geometry, max_bytes=limit)
        info = {"SOPInstanceUID": str(dataset.get("SOPInstanceUID", ""))}
        submission = Submission(author, client, info=info)
        return self._commit(row, self._said(mask, None), sha256(file).hexdigest(), submission)

    def newest(self, case_id: str, tag: str) -> Label:
        """The newest version under a tag. Raises `UnknownLabel`."""
        return self.project.catalog.labels.newest(case_id, tag)

    def get(self, label_id: int) -> Label:
        """A version by its id. Raises `UnknownLabel`, also for a deleted one."""
        label = self.project.catalog.labels.by_id(label_id)
        if label.deleted:
            raise UnknownLabel(f"label number {label_id} was deleted")
        return label

    def newest_first(self, since: float = 0.0, author: str = "", limit: int = 1000) -> list[Label]:
        """Versions of all cases made since a time (seconds since the epoch), by one author or by anyone (""); newest
        first."""
        return self.project.catalog.labels.newest_first(since, author, limit)

    def after(self, label_id: int, limit: int = 1000) -> list[Label]:
        """Versions of all cases with an id above `label_id`, oldest first."""
        return self.project.catalog.labels.after(label_id, limit)

    def newest_id(self) -> int:
        """The highest label id; 0 if there is none."""
        return self.project.catalog.labels.newest_id()

    def by_ids(self, label_ids: Iterable[int]) -> dict[int, Label]:
        """Versions by their ids, including deleted ones. Raises `UnknownLabel`."""
        return {label_id: self.project.catalog.labels.by_id(label_id) for label_id in label_ids}

    def contributions(self) -> list[Contribution]:
        """Who submitted which final label, and when, oldest first."""
        return self.project.catalog.labels.submissions(FINAL)

    def history(self, case_id: str) -> list[Label]:
        """Every version of every tag, oldest first."""
        return self.project.catalog.labels.history(case_id)

    def mask(self, label: Label) -> Mask:
        """A version's mask on its case's grid. Raises `IntegrityError`."""
        return self.project.labels.read(label, self.cases.volume(label.case_id).geometry)

    def stored_file(self, label: Label) -> ImageFile:
        """The stored file: a DICOM SEG for a series, a labelmap for a volume file. Raises `IntegrityError` if it
        is missing, or isn't what was written."""
        path = self.project.labels.intact(label)
        ending = path.name.partition(".")[2]
        name = f"{safe_name(label.case_id)}-{safe_name(label.tag)}-v{label.number}.{ending}"
        return ImageFile(path, label.sha256, path.stat().st_size, name)

    def download(self, label: Label) -> ImageFile:
        """A version as a NIfTI labelmap, whose values are 1-based positions of its segments."""
        stored = self.project.labels.path(label)
        name = f"{label.case_id}.nii.gz"
        if stored.name.endswith(".nii.gz"):
            stored = self.project.labels.intact(label)
            return ImageFile(stored, label.sha256, stored.stat().st_size, name)
        final = self.project.paths.cache / "labelmaps" / f"{label.sha256}.nii.gz"
        if not final.exists():
            mask = self.mask(label)
            write_durably(final, lambda file: write_label_nifti(mask, file))
        return ImageFile(final, file_sha256(final), final.stat().st_size, name)

    def dicom_seg(self, case_id: str, mask: Mask, names: Sequence[str], who: str) -> Path:
        """Write a mask as a DICOM SEG without committing it, to a temporary file that the caller deletes.

        Raises `BadInput` for a case that is no DICOM series, nor shown as one.
        """
        row = self.cases.get(case_id)
        headers = shown_headers(self.project, row, mask.geometry)
        if not headers:
            raise BadInput(f"{case_id} is a volume file, and a DICOM SEG needs a DICOM series to refer to")
        folder = Path(tempfile.mkdtemp(dir=self.project.paths.incoming))
        file = folder / f"{safe_name(case_id)}.dcm"
        options = SegOptions(
            kind=self.project.settings.labels.seg_type,
            sop_instance_uid=derived_uid("preview", folder.name),
            series_uid=derived_uid("preview", case_id),
            instance_number=1,
            series_description="Segloop preview",
            author=who,
        )
        write_seg(mask.renamed(list(names)), headers, file, options)
        return file

    def info(self, label: Label) -> dict[str, Any]:
        """The client-defined info of a label."""
        return self.project.catalog.labels.info(label.id)

    def note(self, label: Label, noted: Mapping[str, Any], who: str) -> None:
        """Merge `noted` into a label's client-defined info; existing keys are replaced."""
        self.project.catalog.labels.set_info(label.id, {**self.info(label), **noted}, who)

    def delete(self, case_id: str, tag: str, who: str) -> None:
        """Mark every version under a tag as deleted. Files, and copies in the archive, stay."""
        self.project.catalog.labels.delete(case_id, tag, who)

    def overview(self) -> dict[str, dict[str, tuple[Label, Mapping[str, Any]]]]:
        """Case id -> tag -> newest version and its client-defined info."""
        found: dict[str, dict[str, tuple[Label, Mapping[str, Any]]]] = {}
        for label, info in self.project.catalog.labels.newest_of_all():
            found.setdefault(label.case_id, {})[label.tag] = (label, info)
        return found

    def counts(self) -> dict[str, int]:
        """Tag -> number of cases with a label under it."""
        return self.project.catalog.labels.counts()

    def structures(self) -> list[str]:
        """Every structure this project names: from the settings, the models, and the labels so far."""
        return list(self.names().known)

    def names(self) -> StructureNames:
        """The names that a label's structures may have."""
        own = dict.fromkeys(self.project.settings.labels.structures)
        for card in self.models.cards():
            own |= dict.fromkeys(name for name in card.labels if name != "background")
        stored = (name for name in self.project.catalog.labels.structures() if name != "background")
        return StructureNames(tuple(own), tuple(own | dict.fromkeys(stored)))

    def _row_on_grid(self, case_id: str, mask: Mask) -> CaseRow:
        row = self.cases.get(case_id)
        difference = self.cases.open(row).geometry.difference(mask.geometry)
        if difference is not None:
            raise BadInput(f"the mask doesn't lie on the image's voxels: {difference}")
        return row

    def _commit(self, row: CaseRow, mask: Mask, submitted_sha256: str, submission: Submission) -> Label:
        model = submission.model
        algorithm = self.models.provenance(model)
        segments = (
            replace(s, algorithm=algorithm, algorithm_name=model) if s.number in mask.filled else s
            for s in mask.segments
        )
        submission = replace(submission, model_version=submission.model_version or self.models.version(model))
        made = Mask(mask.layers, tuple(segments), mask.geometry)
        return commit_label(self.project, row, made, submission, submitted_sha256)

    def _said(self, mask: Mask, absent: Collection[str] | None, sent: Sequence[str] | None = None) -> Mask:
        """The mask with segments of the project's names, for what is segmented and what is absent.

        `absent` is None where the client can't say, `sent` are names that came beside the mask. Raises `BadInput`:
        nothing is segmented or absent, or a name isn't usable.
        """
        names = self.names()
        drawn = [segment.name for segment in names.of(mask.keeping(mask.filled), sent).segments]
        if absent is None:
            absent = self._unmarked(mask, drawn, names.known)
        names.check(absent)
        kept = mask.keeping([s.number for s in mask.segments if s.number in mask.filled or s.name in absent])
        named = iter(drawn)
        renamed = kept.renamed([next(named) if s.number in kept.filled else s.name for s in kept.segments])
        try:
            said = with_absent(renamed, absent)
        except ValueError as error:
            raise BadInput(str(error)) from error
        if not said.segments:
            raise BadInput(
                "the label says nothing: no structure has voxels, and none is marked as absent (the setting"
                " labels.unmarked is for projects whose annotators always look for every structure)"
            )
        return said

    def _unmarked(self, mask: Mask, drawn: Collection[str], known: Collection[str]) -> Collection[str]:
        """What is absent where the client can't say."""
        labels = self.project.settings.labels
        if labels.unmarked == "not_examined":
            return ()
        listed = [segment.name for segment in mask.segments if segment.name in known]
        return [name for name in dict.fromkeys([*listed, *labels.structures]) if name not in drawn]
