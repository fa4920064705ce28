"""What a label cost its author, from the logs of prompt sessions, as far as these are still there."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from app.core.label import Label
from app.project.project import Project
from app.services.prompting.log import SessionLog


@dataclass(frozen=True)
class Effort:
    """Prompts, and minutes between opening a session and its last step, summed over sessions."""

    prompts: int
    minutes: float


@dataclass(frozen=True)
class _Session:
    opened: float
    used: float
    prompts: int


class Efforts:
    """A label's sessions are those that its author opened on the case before it was submitted, and since they
    submitted the label before it. Reads the logs only, while a server may write them."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._log = SessionLog(project.paths.sessions)
        self._sessions = self._read()

    def of(self, label: Label) -> Effort | None:
        """None if there is no session."""
        created = label.created.timestamp()
        history = self._project.catalog.labels.history(label.case_id)
        before = [one.created.timestamp() for one in history if one.author == label.author and one.id < label.id]
        since = max(before, default=0.0)
        sessions = self._sessions.get((label.case_id, label.author), [])
        own = [one for one in sessions if since <= one.opened <= created]
        if not own:
            return None
        seconds = sum(min(one.used, created) - one.opened for one in own)
        return Effort(sum(one.prompts for one in own), round(seconds / 60, 1))

    def _read(self) -> Mapping[tuple[str, str], list[_Session]]:
        """Sessions by case and user."""
        found: dict[tuple[str, str], list[_Session]] = defaultdict(list)
        for record in self._log.all():
            lines = self._log.lines(record.id)
            session = _Session(record.opened, self._log.last_used(record.id), sum(map(_is_prompt, lines)))
            found[record.case_id, record.viewer.who].append(session)
        return found


def _is_prompt(line: bytes) -> bool:
    try:
        return bool(json.loads(line).get("step") == "add")
    except ValueError:  # an incomplete last line: a step that was never answered
        return False
