"""Managing prompt sessions: listing them, and turning one into a label."""

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
    """A session and its state: the number of `steps`, when it was last `used` (seconds since the epoch), whether it is
    `open` in memory, and the id of the label made from it; None if there is none, or steps were added since."""

    record: SessionRecord
    steps: int
    used: float
    open: bool
    label_id: int | None


@dataclass(frozen=True)
class SessionService:
    """Lists, submits and deletes the sessions of all owners. Thread-safe."""

    prompting: PromptService
    labels: LabelService
    matcher: Matcher
    _matches: dict[str, Match] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def listed(self, limit: int | None = None) -> list[SessionInfo]:
        """Every session with a log, or at most `limit` of them, last opened first."""
        return [self._info(record) for record in self.prompting.log.all()[:limit]]

    def get(self, name_or_id: str) -> SessionInfo:
        """A session by its id or its public name. Raises `UnknownSession`."""
        record = self.prompting.log.find(name_or_id) or self.prompting.log.named(name_or_id)
        if record is None:
            raise UnknownSession(f"there is no session {name_or_id!r}; `segloop sessions list` shows those there are")
        return self._info(record)

    def match(self, record: SessionRecord) -> Match | None:
        """The archive's case of a session's image; None if the archive doesn't have it. May open cases to compare."""
        if not record.case_id.startswith(PREFIX):
            return Match(record.case_id, Orientation())
        with self._lock:
            known = self._matches.get(record.case_id)
        if known is not None:
            return known
        self.prompting.images.wait_stored(record.case_id)
        found = self.matcher.find(self.labels.cases.volume(record.case_id), record.placed)
        if found is not None:
            with self._lock:
                self._matches[record.case_id] = found
        return found

    def matched(self, info: SessionInfo) -> str | None:
        """The id of the archive's case of a session if it is known already; unlike `match` this doesn't search."""
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
        """Commit a session's mask as a label; returns the label and whether its image is a case of the archive.

        The mask of a sent image is committed for the archive's case with the same voxels. If there is none, the sent
        image becomes a permanent case of its own. `author` defaults to the session's user.

        `structure` "" is the project's only one. Raises `UnknownSession`, and `BadInput`: an empty mask, a structure
        that the project doesn't know, or none where it has several.
        """
        record = self.get(name_or_id).record
        with self.prompting.session(record.id, record.owner, reading=True) as session:
            voxels = session.mask.copy()
        if not voxels.any():
            raise BadInput("nothing is segmented in this session; there is no label to keep")
        structure = self.labels.names().one(structure)
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
        label = self.labels.submit_mask(case_id, Mask.single(voxels, [structure], geometry), submission, absent=())
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
