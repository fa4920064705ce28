"""The catalog: cases, label versions, scores, jobs, model versions, claims, audit trail. One SQL schema.

`schema` defines the tables, `database` opens them, and each other module has the queries of one of them.
`Catalog` bundles these modules' classes over one database.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.catalog.accounts import Accounts
from app.catalog.audit import Audit
from app.catalog.cases import Cases
from app.catalog.claims import CaseClaims
from app.catalog.database import Database
from app.catalog.fingerprints import Fingerprints
from app.catalog.jobs import Jobs
from app.catalog.labels import Labels
from app.catalog.outbox import Outbox
from app.catalog.reservations import Reservations
from app.catalog.scores import Scores
from app.catalog.versions import Versions


@dataclass(frozen=True)
class Catalog:
    """The whole catalog over one database."""

    database: Database
    cases: Cases
    fingerprints: Fingerprints
    labels: Labels
    outbox: Outbox
    claims: CaseClaims
    scores: Scores
    jobs: Jobs
    versions: Versions
    reservations: Reservations
    accounts: Accounts
    audit: Audit

    @classmethod
    def open(cls, file: Path, *, rebuilding: bool = False) -> Catalog:
        """Open the SQLite catalog at `file`, created if it doesn't exist; beside label files only for `rebuilding` it.
        Several processes may have it open."""
        database = Database.sqlite(file, rebuilding=rebuilding)
        audit = Audit(database)
        return cls(
            database=database,
            cases=Cases(database),
            fingerprints=Fingerprints(database),
            labels=Labels(database, audit),
            outbox=Outbox(database),
            claims=CaseClaims(database),
            scores=Scores(database),
            jobs=Jobs(database),
            versions=Versions(database, audit),
            reservations=Reservations(database),
            accounts=Accounts(database, audit),
            audit=audit,
        )

    def close(self) -> None:
        self.database.close()
