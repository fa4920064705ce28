"""The table at the end."""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from app.demo.annotator import Played
from app.demo.plan import PATIENT_PREFIX
from app.demo.rounds import Round

UNTRAINED = "untrained"


def table(rounds: Sequence[Round]) -> Table:
    """One line per case, and after each round what the model had learned by then."""
    shown = Table(title="What the annotator did", caption="Dice is against the phantoms' truth", title_justify="left")
    for header, right in (("round", True), ("case", False), ("structures", False), ("clicks", True)):
        shown.add_column(header, justify="right" if right else "left", no_wrap=True)
    shown.add_column("Dice before", justify="right", max_width=9)
    shown.add_column("after", justify="right", no_wrap=True)
    shown.add_column("why this case", ratio=1)
    for one in rounds:
        for played in one.played:
            shown.add_row(str(one.number), *(escape(text) for text in _cells(played)))
        shown.add_row("", *(escape(text) for text in _learned(one)), style="bold", end_section=True)
    return shown


def case_name(played: Played) -> str:
    """Short enough for a table: the patient's number, and when."""
    patient = played.sample.patient.removeprefix(PATIENT_PREFIX) or played.sample.id
    date = played.sample.date
    return f"{patient}, {date[:4]}-{date[4:6]}" if len(date) == 8 else patient


def before_words(before: float | None) -> str:
    return UNTRAINED if before is None else f"{before:.2f}"


def _cells(played: Played) -> tuple[str, ...]:
    clicks = "\n".join(str(one.clicks) for one in played.structures)
    structures = "\n".join(f"{one.name} {one.dice:.2f}" for one in played.structures)
    after = f"{played.after:.2f}"
    return case_name(played), structures, clicks, before_words(played.before), after, played.sample.reason


def _learned(one: Round) -> tuple[str, ...]:
    if one.trained is None:
        return f"{one.labels} labels", "no trainer", "", "", "", ""
    reached = "" if one.held_out is None else f"{one.held_out:.2f}"
    validation = one.trained.validation
    said = "" if validation is None else f"; {validation:.2f} on its own validation patients"
    version = f"version {one.trained.version}" if one.trained.version else "no version"
    return f"{one.labels} labels", version, "", reached, "", f"= automatic, on patients the server never saw{said}"
