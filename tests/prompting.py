"""One step in a session per call, for tests that don't need several under one lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.core.model import Option
from app.core.prompt import Prompt
from app.services import Services
from app.services.prompting.service import PromptService
from app.services.prompting.session import Change


class Steps:
    def __init__(self, services: Services) -> None:
        self._prompting: PromptService = services.prompting

    def add(self, session_id: str, owner: str, prompts: Sequence[Prompt], predict: bool = True) -> Change:
        with self._prompting.session(session_id, owner) as session:
            return session.add(prompts, predict)

    def predict(self, session_id: str, owner: str) -> Change:
        with self._prompting.session(session_id, owner) as session:
            return session.predict()

    def undo(self, session_id: str, owner: str) -> Change | None:
        with self._prompting.session(session_id, owner) as session:
            return session.undo()

    def reset(self, session_id: str, owner: str) -> None:
        with self._prompting.session(session_id, owner) as session:
            session.reset()

    def set_options(self, session_id: str, owner: str, options: Mapping[str, Option]) -> None:
        with self._prompting.session(session_id, owner) as session:
            session.set_options(options)

    def mask(self, session_id: str, owner: str) -> NDArray[np.uint8]:
        with self._prompting.session(session_id, owner) as session:
            return session.mask.copy()

    def packed_gzip(self, session_id: str, owner: str) -> bytes:
        with self._prompting.session(session_id, owner) as session:
            return session.packed_gzip()
