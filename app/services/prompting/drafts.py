"""Drafts: what somebody has drawn on a case and not submitted yet.

A draft is no store of its own. It consists of the sessions in which a person draws the structures of a case: those that
were opened for a `structure`, aren't closed, and have steps that no label has (docs/decisions/0022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.services.prompting.log import SessionRecord
from app.services.prompting.service import PromptService


@dataclass(frozen=True)
class Draft:
    """A person's unfinished work on a case: one session for each structure, when it was last `used`, and when it
    `expires` unless it is used again (seconds since the epoch)."""

    case_id: str
    who: str
    client: str
    used: float
    expires: float
    parts: Sequence[SessionRecord]


@dataclass(frozen=True)
class DraftService:
    """Finds and ends drafts. Thread-safe; nothing is kept here."""

    prompting: PromptService
    keep_seconds: float

    def listed(self, case_id: str = "", who: str = "") -> list[Draft]:
        """Every draft, last used first; only those of a case or of a person if given."""
        log = self.prompting.log
        found: dict[tuple[str, str], dict[str, SessionRecord]] = {}
        for record in log.all():  # last opened first: of several for one structure, that one counts
            asked = case_id in ("", record.case_id) and who in ("", record.viewer.who)
            if asked and record.structure and self._unfinished(record):
                found.setdefault((record.case_id, record.viewer.who), {}).setdefault(record.structure, record)
        drafts = [self._draft(list(parts.values())) for parts in found.values()]
        return sorted(drafts, key=lambda draft: draft.used, reverse=True)

    def of(self, case_id: str, who: str) -> Draft | None:
        """A person's draft of a case; None if there is none."""
        return next(iter(self.listed(case_id, who)), None)

    def end(self, session_ids: Sequence[str], label_id: int) -> None:
        """Somebody has submitted what they drew in these sessions: it is a label now, until they go on."""
        for session_id in session_ids:
            if self.prompting.log.find(session_id) is not None:
                self.prompting.log.mark_submitted(session_id, label_id)

    def _unfinished(self, record: SessionRecord) -> bool:
        log = self.prompting.log
        return log.length(record.id) > 0 and not log.closed(record.id) and log.submitted(record.id) is None

    def _draft(self, parts: Sequence[SessionRecord]) -> Draft:
        used = max(self.prompting.log.last_used(record.id) for record in parts)
        first = parts[0]
        return Draft(first.case_id, first.viewer.who, first.viewer.client, used, used + self.keep_seconds, parts)
