"""Handing an annotator the next case, and to nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.catalog.scores import Scores
from app.core.case import CaseClaim, CaseRow
from app.core.pool import Pick, Pool, Score, Strategy
from app.errors import BadInput, BadOption, UnknownStrategy
from app.plugins import Plugin
from app.project.project import Project
from app.services.cases import CaseService


@dataclass(frozen=True)
class Offer:
    """A case for someone, why it was picked, and until when it is theirs (seconds since the epoch)."""

    row: CaseRow
    reason: str
    expires: float


class NextCaseService:
    """`strategies` are the plugins by public name; those with a field `model` are offered once per scored model, under
    `<model>_<name>`, and under their own name for the first such model.

    `_skipped` says until when (seconds since the epoch) a client is spared a case, `_renewed` until when the end of its
    claim needn't be moved again. They are replaced, never changed, and so need no lock.
    """

    def __init__(
        self, project: Project, cases: CaseService, strategies: Mapping[str, Plugin], scored_models: Sequence[str]
    ) -> None:
        self._project = project
        self._cases = cases
        self._offered = dict(_named(strategies, scored_models))
        self._skipped: dict[tuple[str, str], float] = {}
        self._renewed: dict[tuple[str, str], float] = {}

    def strategies(self) -> dict[str, str]:
        """Public name -> what it does, the default first."""
        return {name: plugin.description for name, (plugin, _) in self._offered.items()}

    def next(self, strategy: str, client: str, options: Mapping[str, Any]) -> Offer | None:
        """The next case for a client, claimed for them; None if there is nothing left.

        A client who comes back without having labelled or skipped gets the same case again, whatever the strategy. A
        case whose images turn out unusable is noted as such and passed over. Raises `UnknownStrategy`, `BadOption`,
        `ArchiveUnavailable`.
        """
        chooser = self._make(strategy, options)
        seconds = self._project.settings.sessions.lease_seconds
        claims = self._project.catalog.claims
        while True:
            now = time.time()
            spared = frozenset(
                case_id for (who, case_id), until in self._skipped.items() if who == client and until > now
            )
            choose = partial(self._rank, chooser, now=now, seed=int(now * 1000), spared=spared)
            claim = claims.claim(client, strategy, now, seconds, choose)
            if claim is None:
                return None
            row = self._cases.get(claim.case_id)
            if self._opens(row):
                return Offer(row, claim.reason, claim.expires)

    def preview(self, strategy: str, options: Mapping[str, Any]) -> Sequence[Pick]:
        """What `next` would offer to one client after the other, as far as the strategy ranks; nobody gets anything.

        Cases that someone holds are left out. A random strategy draws anew at each `next`; here it always draws the
        same, so that the list can be turned page by page. Raises `UnknownStrategy`, `BadOption`.
        """
        chooser, now = self._make(strategy, options), time.time()
        held = frozenset(claim.case_id for claim in self.held())
        return self._rank(chooser, held, now, seed=0)

    def waiting(self) -> int:
        """How many cases have no final label yet, held or not."""
        return len(self._project.catalog.cases.candidates())

    def held(self) -> list[CaseClaim]:
        """The cases that someone has now."""
        return self._project.catalog.claims.held(time.time())

    def renew(self, case_id: str, client: str) -> None:
        """Someone works on their case: it stays theirs. Clicks come often and each write waits for the disk, so nothing
        is written for a tenth of a claim's length after the last time."""
        now, seconds = time.time(), self._project.settings.sessions.lease_seconds
        if self._renewed.get((case_id, client), 0.0) > now:
            return
        kept = {key: until for key, until in self._renewed.items() if until > now}
        self._renewed = {**kept, (case_id, client): now + seconds / 10}
        self._project.catalog.claims.renew(case_id, client, now + seconds)

    def skip(self, case_id: str, client: str) -> None:
        """Give a client's case back without a label. For as long as a claim lasts that client gets it again only when
        nothing else is left: most strategies would name it first again. Raises `UnknownCase`."""
        self._cases.get(case_id)
        self._project.catalog.claims.release(case_id, client)
        now = time.time()
        kept = {key: until for key, until in self._skipped.items() if until > now}
        self._skipped = {**kept, (client, case_id): now + self._project.settings.sessions.lease_seconds}

    def _opens(self, row: CaseRow) -> bool:
        """Whether the case's images can be read, which also brings them into the cache before the viewer asks."""
        try:
            self._cases.open(row)
        except BadInput:
            self._project.catalog.claims.release(row.case.id)  # the reason is noted on the case; it's offered no more
            return False
        except BaseException:
            self._project.catalog.claims.release(row.case.id)
            raise
        return True

    def _make(self, name: str, options: Mapping[str, Any]) -> Strategy:
        if name not in self._offered:
            raise UnknownStrategy(f"no strategy {name!r}; there are: {', '.join(self._offered)}")
        plugin, fixed = self._offered[name]
        given = {key: value for key, value in options.items() if key in plugin.options and key not in fixed}
        try:
            strategy: Strategy = plugin.factory(**fixed, **given)
        except (TypeError, ValueError) as error:
            raise BadOption(f"strategy {name}: {error}") from error
        return strategy

    def _rank(
        self, strategy: Strategy, held: frozenset[str], now: float, seed: int, spared: frozenset[str] = frozenset()
    ) -> Sequence[Pick]:
        cases = self._project.catalog.cases
        candidates = cases.candidates()
        if held:
            candidates = [one for one in candidates if one.case_id not in held]
        if spared:
            candidates = [one for one in candidates if one.case_id not in spared] or candidates
        if not candidates:
            return ()
        pool = Pool(
            candidates=candidates,
            scores=_LazyScores(self._project.catalog.scores),
            labelled_patients=cases.labelled_patients(),
            now=now,
            seed=seed,
        )
        return strategy.rank(pool)


class _LazyScores(Mapping[str, Mapping[str, Score]]):
    """Scores by scorer, read when a strategy looks at them."""

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._read: dict[str, Mapping[str, Score]] = {}

    def __getitem__(self, scorer: str) -> Mapping[str, Score]:
        if scorer not in self._read:
            self._read[scorer] = self._scores.newest(scorer)
        return self._read[scorer]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scores.scorers())

    def __len__(self) -> int:
        return len(self._scores.scorers())


def _named(
    strategies: Mapping[str, Plugin], scored_models: Sequence[str]
) -> Iterator[tuple[str, tuple[Plugin, dict[str, str]]]]:
    with_model = {name: plugin for name, plugin in strategies.items() if "model" in plugin.options}
    for name, plugin in with_model.items():
        if scored_models:
            yield name, (plugin, {"model": scored_models[0]})
        for model in scored_models:
            yield f"{model}_{name}", (plugin, {"model": model})
    # Random before first and last: a viewer that knows no better takes the first name, and random is the safe choice.
    plain = sorted((name for name in strategies if name not in with_model), key=lambda name: (name != "random", name))
    for name in plain:
        yield name, (strategies[name], {})
