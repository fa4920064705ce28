"""Prompt sessions as the person who runs the project sees them: which there are, and turning one into a label."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from app.core.label import FINAL, Label, Submission
from app.core.mask import Mask
from app.core.orientation import Orientation
from app.errors import BadInput, UnknownLabel, UnknownSession
from app.services.labels import LabelService
from app.services.prompting.images import PREFIX
from app.services.prompting.log import SessionRecord
from app.services.prompting.matching import Match, Matcher
from app.services.prompting.restore import version_after
from app.services.prompting.service import PromptService


@dataclass(frozen=True)
class SessionInfo:
    """A session with its state: `steps` taken, when it was last `used` (seconds since the epoch), whether it is `open`
    in memory, and the id of the label made from it, None while there is none or something was done since."""

    record: SessionRecord
    steps: int
    used: float
    open: bool
    label_id: int | None


@dataclass(frozen=True)
class SessionService:
    prompting: PromptService
    labels: LabelService
    matcher: Matcher
    _matches: dict[str, Match] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def listed(self, limit: int | None = None) -> list[SessionInfo]:
        """Every session with a log, opened last first; with `limit`, so many at most."""
        return [self._info(record) for record in self.prompting.log.all()[:limit]]

    def get(self, name_or_id: str) -> SessionInfo:
        """By its id or by the name people call it. Raises `UnknownSession`."""
        record = self.prompting.log.find(name_or_id) or self.prompting.log.named(name_or_id)
        if record is None:
            raise UnknownSession(f"there is no session {name_or_id!r}; `segloop sessions list` shows those there are")
        return self._info(record)

    def match(self, record: SessionRecord) -> Match | None:
        """The archive's case that a session's image is of; None for one the archive doesn't have."""
        if not record.case_id.startswith(PREFIX):
            return Match(record.case_id, Orientation())
        with self._lock:
            known = self._matches.get(record.case_id)
        if known is not None:
            return known
        self.prompting.images.ready(record.case_id)
        found = self.matcher.find(self.labels.cases.volume(record.case_id), record.placed)
        if found is not None:
            with self._lock:
                self._matches[record.case_id] = found
        return found

    def matched(self, info: SessionInfo) -> str | None:
        """The archive's case of a session as far as it is known already; unlike `match` it never looks for one."""
        record = info.record
        if not record.case_id.startswith(PREFIX):
            return record.case_id
        with self._lock:
            known = self._matches.get(record.case_id)
        if known is not None:
            return known.case_id
        if info.label_id is None:
            return None
        try:
            labelled = self.labels.get(info.label_id).case_id
        except UnknownLabel:
            return None
        return labelled if labelled != record.case_id else None

    def submit(
        self, name_or_id: str, structure: str, comment: str = "", tag: str = FINAL, author: str = ""
    ) -> tuple[Label, bool]:
        """Keep a session's mask as a label; the label, and whether its image was found in the archive.

        The mask of an image that was sent lands on the archive's case with the same voxels. An image that isn't there
        becomes a case of its own, which is kept for good. `author` is who sat at the session, if not given.

        Raises `UnknownSession`, and `BadInput` if nothing is segmented.
        """
        record = self.get(name_or_id).record
        with self.prompting.session(record.id, record.owner) as session:
            voxels = session.mask.copy()
        if not voxels.any():
            raise BadInput("nothing is segmented in this session; there is no label to keep")
        match = self.match(record)
        case_id = match.case_id if match is not None else record.case_id
        if match is not None:
            voxels = np.ascontiguousarray(match.orientation.apply(voxels))
        else:
            self.labels.cases.keep(record.case_id)
        geometry = self.labels.cases.volume(case_id).geometry
        submission = Submission(
            author=author or record.viewer.who,
            client=record.viewer.client,
            tag=tag,
            model=record.model,
            model_version=version_after(record, self.prompting.log.steps(record)),
            comment=comment,
            info={"session": record.name},
        )
        label = self.labels.submit_mask(case_id, Mask.single(voxels, [structure], geometry), submission)
        self.prompting.log.mark_submitted(record.id, label.id)
        return label, match is not None

    def forget(self, name_or_id: str) -> None:
        """Close a session and delete its log. Raises `UnknownSession`."""
        record = self.get(name_or_id).record
        self.prompting.forget(record.id, record.owner)

    def _info(self, record: SessionRecord) -> SessionInfo:
        return SessionInfo(
            record=record,
            steps=self.prompting.log.count(record.id),
            used=self.prompting.log.last_used(record.id),
            open=self.prompting.is_open(record.id),
            label_id=self.prompting.log.submitted(record.id),
        )
