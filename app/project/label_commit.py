"""Keeping a mask as a label version: the file durable first, then one transaction, and only then an answer."""

from __future__ import annotations

from app.catalog.labels import NewLabel
from app.core.case import CaseRow
from app.core.label import FINAL, Label
from app.core.mask import Mask
from app.core.progress import ignore_progress
from app.errors import Conflict
from app.project.project import Project


def commit_label(project: Project, row: CaseRow, mask: Mask, new: NewLabel) -> Label:
    """Store `mask` as the next version of a label of the case.

    When this returns, the label survives a kill and a power cut. Final labels go to the archive through the outbox;
    others stay here. The same bytes from the same author again answer with the version there is.
    """
    labels = project.catalog.labels
    known = labels.retried(new)
    if known is not None:
        return known
    headers = project.volumes(row.origin).headers(row.case, ignore_progress) if row.case.kind == "series" else ()
    while True:
        number = labels.next_number(new.case_id, new.tag)
        stored = project.labels.write(row.case, new.tag, number, mask, headers, new.submission.author)
        try:
            return labels.append(new, number, stored, deliver=new.tag == FINAL)
        except Conflict:
            # Someone else's version took the number while the file was written; the file says the number, so again.
            (project.labels.folder / stored.path).unlink()
