"""Offers annotators the next case and claims it for them, so that two of them never get the same one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.catalog.scores import Scores
from app.core.case import CaseClaim, CaseRow, Shows
from app.core.pool import Candidate, Pick, Pool, Score, Strategy
from app.errors import BadInput, BadOption, UnknownStrategy
from app.learning.dataset import labelled_cases
from app.plugins import Plugin
from app.project.project import Project
from app.services.cases import CaseService

USED_SECONDS = 86400.0
"""For so long after somebody used a strategy, the scores that only it needs are computed."""


@dataclass(frozen=True)
class Offer:
    """A case claimed for a client, why it was picked, and when the claim expires (seconds since the epoch)."""

    row: CaseRow
    reason: str
    expires: float


@dataclass(frozen=True)
class _Client:
    """The cases that a client skipped, the first one first, and those that its viewer can't show."""

    skipped: Sequence[str] = ()
    unseen: frozenset[str] = frozenset()


class NextCaseService:
    """Picks cases by strategy and keeps their claims. Thread-safe.

    `strategies` are the plug-ins by public name. Those with a field `model` are offered once per scored model, as
    `<model>_<name>`, and under their own name for the first such model.

    `clock` gives the time in seconds since the epoch, from which random strategies also get their seed.

    `listing` waits for a first listing of the archive that is under way, and says whether it had to.

    `_skipped` holds until when (seconds since the epoch) a client isn't offered a case again, `_renewed` until when a
    claim needn't be renewed again, `_used` when a strategy was last used. They are replaced, never changed in place,
    and so need no lock.
    """

    def __init__(
        self,
        project: Project,
        cases: CaseService,
        strategies: Mapping[str, Plugin],
        scored_models: Sequence[str],
        clock: Callable[[], float] = time.time,
        listing: Callable[[], bool] = lambda: False,
    ) -> None:
        self._project = project
        self._cases = cases
        self._clock = clock
        self._listing = listing
        self._offered = dict(_named(strategies, scored_models))
        self._skipped: dict[tuple[str, str], float] = {}
        self._renewed: dict[tuple[str, str], float] = {}
        self._used: dict[str, float] = {}

    def strategies(self) -> dict[str, str]:
        """Public name -> what it does, the default first."""
        return {name: plugin.description for name, (plugin, _) in self._offered.items()}

    def next(self, strategy: str, client: str, options: Mapping[str, Any], shows: Shows = "everything") -> Offer | None:
        """Claim the next case for a client; None if no case is left.

        A client that has neither labelled nor skipped its case gets the same one again, whatever the strategy. It gets
        only what its viewer `shows`; a case that it holds in another viewer stays its own. A case with unusable images
        is recorded as such and skipped. If none is left and the archive is being listed for the first time, this waits
        for it. Raises `UnknownStrategy`, `BadOption`, `ArchiveUnavailable`.
        """
        chooser = self._make(strategy, options)
        seconds = self._project.settings.sessions.lease_seconds
        claims = self._project.catalog.claims
        while True:
            now = self._clock()
            # The one that was skipped first comes first.
            skipped = tuple(case_id for (who, case_id), until in self._skipped.items() if who == client and until > now)
            unseen = self._project.catalog.cases.not_shown(shows)
            asking = _Client(skipped, unseen)
            choose = partial(self._rank, strategy, chooser, now=now, seed=int(now * 1000), client=asking)
            claim = claims.claim(client, strategy, now, seconds, choose, unseen)
            if claim is None:
                if self._listing():
                    continue
                return None
            row = self._cases.get(claim.case_id)
            if self._opens(row):
                return Offer(row, claim.reason, claim.expires)

    def preview(self, strategy: str, options: Mapping[str, Any]) -> Sequence[Pick]:
        """The order in which `next` would offer cases, as far as the strategy ranks them; nothing is claimed.

        Claimed cases are left out. A random strategy has a new seed at each `next`; here the seed is fixed, so that the
        list can be read in pages. Raises `UnknownStrategy`, `BadOption`.
        """
        chooser, now = self._make(strategy, options), self._clock()
        held = frozenset(claim.case_id for claim in self.held())
        return self._rank(strategy, chooser, held, now, seed=0)

    def scorers(self, model: str) -> frozenset[str]:
        """The scorers of a model that strategies need which somebody has used within `USED_SECONDS`."""
        since = self._clock() - USED_SECONDS
        used = (self._offered[name] for name, when in self._used.items() if when > since)
        return frozenset(s for plugin, fixed in used if fixed.get("model") == model for s in plugin.scorers)

    def waiting(self) -> int:
        """How many cases have no final label yet, claimed or not."""
        return len(self._project.catalog.cases.candidates())

    def held(self) -> list[CaseClaim]:
        """The case claims that are valid now."""
        return self._project.catalog.claims.held(self._clock())

    def renew(self, case_id: str, client: str) -> None:
        """Extend a client's claim because it works on the case. Clicks are frequent and each write waits for the disk,
        so a claim is written at most once per tenth of its duration."""
        now, seconds = self._clock(), self._project.settings.sessions.lease_seconds
        if self._renewed.get((case_id, client), 0.0) > now:
            return
        kept = {key: until for key, until in self._renewed.items() if until > now}
        self._renewed = {**kept, (case_id, client): now + seconds / 10}
        self._project.catalog.claims.renew(case_id, client, now + seconds)

    def skip(self, case_id: str, client: str) -> None:
        """Release a client's case without a label. For the duration of a claim that client gets it again only if no
        other case is left, and then after those that it skipped before: most strategies would rank it first again.
        Raises `UnknownCase`."""
        self._cases.get(case_id)
        self._project.catalog.claims.release(case_id, client)
        now = self._clock()
        kept = {key: until for key, until in self._skipped.items() if until > now and key != (client, case_id)}
        self._skipped = {**kept, (client, case_id): now + self._project.settings.sessions.lease_seconds}

    def _opens(self, row: CaseRow) -> bool:
        """Whether the case's images can be read; this also caches them before the viewer requests them."""
        try:
            self._cases.open(row)
        except BadInput:
            self._project.catalog.claims.release(row.case.id)  # `open` recorded the problem: not offered again
            return False
        except BaseException:
            self._project.catalog.claims.release(row.case.id)
            raise
        return True

    def _make(self, name: str, options: Mapping[str, Any]) -> Strategy:
        if name not in self._offered:
            raise UnknownStrategy(f"no strategy {name!r}; there are: {', '.join(self._offered)}")
        plugin, fixed = self._offered[name]
        self._used = {**self._used, name: self._clock()}
        given = {key: value for key, value in options.items() if key in plugin.options and key not in fixed}
        try:
            strategy: Strategy = plugin.factory(**fixed, **given)
        except (TypeError, ValueError) as error:
            raise BadOption(f"strategy {name}: {error}") from error
        return strategy

    def _rank(
        self,
        name: str,
        strategy: Strategy,
        held: frozenset[str],
        now: float,
        seed: int,
        client: _Client | None = None,
    ) -> Sequence[Pick]:
        """The picks of the strategy called `name` among the cases that may be offered.

        Never those in `held`, nor what the client can't see. What it skipped only if there are no others, and
        then what it skipped first; likewise, among the rest, those of a patient of whom somebody holds a case, because
        labels of one patient are mostly redundant.
        """
        cases = self._project.catalog.cases
        client = client or _Client()
        everyone = self._to_review(name) if self._offered[name][0].reviews else cases.candidates()
        without = held | client.unseen
        candidates = [one for one in everyone if one.case_id not in without] if without else everyone
        if client.skipped:
            left = set(client.skipped)
            others = [one for one in candidates if one.case_id not in left]
            candidates = others or _first_of(candidates, client.skipped)
        if held:
            busy = {one.patient for one in everyone if one.case_id in held}
            candidates = [one for one in candidates if one.patient not in busy] or candidates
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

    def _to_review(self, strategy: str) -> list[Candidate]:
        """The labelled cases whose newest label has the first score of a strategy and wasn't submitted after that
        strategy had offered the case: whoever submitted it then has reviewed it."""
        plugin, fixed = self._offered[strategy]
        scores = self._project.catalog.scores.details(f"{plugin.scorers[0]}:{fixed['model']}")
        found = []
        for order, one in enumerate(labelled_cases(self._project)):
            case, offered = one.row.case, one.row.served_by.get(strategy, {"ts": float("inf")})["ts"]
            scored = case.id in scores and scores[case.id].detail.get("label") == one.label.id
            if scored and one.label.created.timestamp() < offered:
                found.append(Candidate(case.id, case.patient_key, order, 0.0))
        return found


def _first_of(candidates: Sequence[Candidate], order: Sequence[str]) -> list[Candidate]:
    """The candidate that comes first in `order`, alone."""
    known = {one.case_id: one for one in candidates}
    return [known[case_id] for case_id in order if case_id in known][:1]


class _LazyScores(Mapping[str, Mapping[str, Score]]):
    """Scores by scorer, read from the catalog when a strategy uses them."""

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
    # Random comes first: viewers without a choice take the first name, and random introduces no bias.
    plain = sorted((name for name in strategies if name not in with_model), key=lambda name: (name != "random", name))
    for name in plain:
        yield name, (strategies[name], {})
