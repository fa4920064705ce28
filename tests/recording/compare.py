"""Differences between two recordings, and which of them are accepted.

Everything counts but the wording of texts that people read, and what was added to lists that grow (commands, options,
settings, paths of the API page): those are accepted if `reworded.toml` lists them. A text that a client looks for in an
answer is never only wording.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["wire", "wording", "addition"]

WORDING = frozenset(
    {
        *("detail", "error", "message", "description", "reason", "advice", "problem", "warning", "summary", "note"),
        # Texts of a page, and attributes that people read or hear
        *("text", "title", "aria-label", "alt", "placeholder", "data-confirm", "data-done", "content"),
        "help",
    }
)
"""Fields, headers and attributes whose text is for people."""

MATCHED = (
    # SlicerNNInteractive up to 0.3 sends its image again (docs/protocols/slicer-legacy.md, section 5)
    "No image uploaded",
    # ITKIT's own texts (docs/protocols/itkit.md, section 3)
    "Content-Type must be application/json",
    "Model name is required",
    "Backend type is required",
    "Model path is required",
    "Model file not found:",
    "Config file required for MMEngine:",
    "Model not loaded:",
    "No model loaded",
    "No image file uploaded",
    "window_level/window_width required",
    "Model not found:",
)
"""Texts that clients look for, or that a protocol fixes."""

GROWING = frozenset({"commands", "options", "settings", "checks", "paths"})
"""Objects that may have more keys than before; see `scripts.command_line` and `scripts.api`."""

ABSENT = "(not there)"


@dataclass(frozen=True)
class Noted:
    """An exchange, masked."""

    script: str
    request: str
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """`where` is the request, `path` the place in its answer."""

    where: str
    path: str
    old: Any
    new: Any
    kind: Kind

    def __str__(self) -> str:
        return f"[{self.kind}] {self.where}\n    {self.path}\n    - {_short(self.old)}\n    + {_short(self.new)}"


@dataclass(frozen=True)
class Accepted:
    """What `reworded.toml` lists. In a text, `{name}` stands for anything, the same in the old and the new one.
    `fields` are those that JSON answers have in addition, at any place: a client reads the fields that it knows."""

    reworded: Sequence[tuple[str, str]] = ()
    added: frozenset[str] = field(default_factory=frozenset)
    fields: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def read(cls, file: Path) -> Accepted:
        listed = tomllib.loads(file.read_text())
        reworded = [(one["old"], one["new"]) for one in listed.get("reworded", ())]
        return cls(reworded, frozenset(listed.get("added", ())), frozenset(listed.get("fields", ())))

    def takes(self, difference: Difference) -> bool:
        if difference.kind == "addition":
            return difference.path in self.added
        if difference.old == ABSENT and difference.path.startswith("body"):
            return difference.path.rpartition(".")[2] in self.fields
        if difference.kind != "wording":
            return False
        return any(_becomes(old, new, difference.old, difference.new) for old, new in self.reworded)


def differences(old: Sequence[Noted], new: Sequence[Noted]) -> Iterator[Difference]:
    """Everything in which two recordings of the same scripts differ, in the order of the requests."""
    scripts = dict.fromkeys(one.script for one in (*old, *new))
    for script in scripts:
        before, after = ([one for one in noted if one.script == script] for noted in (old, new))
        pairs = difflib.SequenceMatcher(None, [o.request for o in before], [o.request for o in after], autojunk=False)
        for tag, low, high, other_low, other_high in pairs.get_opcodes():
            for number in range(low, high) if tag == "equal" else ():
                one, other = before[number], after[number - low + other_low]
                where = f"{script} {number + 1}: {one.request}"
                yield from _compared(where, "", one.answer, other.answer, growing=False)
            if tag != "equal":
                yield from _unpaired(script, before[low:high], after[other_low:other_high])


def _unpaired(script: str, old: Sequence[Noted], new: Sequence[Noted]) -> Iterator[Difference]:
    """Requests of one recording only: the help of a new command, or a script that went another way."""
    for one in old:
        yield Difference(f"{script}: {one.request}", "request", one.request, "(not sent)", "wire")
    for one in new:
        kind: Kind = "addition" if one.request.endswith("--help") else "wire"
        yield Difference(f"{script}: {one.request}", one.request, "(not sent)", one.request, kind)


def _compared(where: str, path: str, old: Any, new: Any, *, growing: bool) -> Iterator[Difference]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            place = f"{path}.{key}".removeprefix(".")
            if key not in new:
                yield Difference(where, place, old[key], ABSENT, "wire")
            elif key not in old:
                yield Difference(where, place, ABSENT, new[key], "addition" if growing else "wire")
            else:
                yield from _compared(where, place, old[key], new[key], growing=key in GROWING)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield Difference(where, path, *_changed_lines(old, new), "wire")
            return
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _compared(where, f"{path}[{number}]", one, other, growing=False)
    elif old != new or type(old) is not type(new):
        yield Difference(where, path, old, new, _kind(path, old, new))


def _kind(path: str, old: Any, new: Any) -> Kind:
    key = path.rpartition(".")[2].partition("[")[0]
    texts = isinstance(old, str) and isinstance(new, str) and bool(old) and bool(new)
    if key not in WORDING or not texts or any(text in old for text in MATCHED):
        return "wire"
    return "wording"


def _becomes(old: str, new: str, before: str, after: str) -> bool:
    """Whether `before` is like `old`, and `after` like `new` with the same in its gaps."""
    names: dict[str, str] = {}

    def gap(match: re.Match[str]) -> str:
        name = match[1]
        if name in names:
            return rf"(?P={name})"
        names[name] = ""
        return rf"(?P<{name}>.*)"

    pattern = re.sub(r"\\\{(\w+)\\\}", gap, re.escape(old))
    found = re.fullmatch(pattern, before, re.DOTALL)
    return found is not None and re.sub(r"\{(\w+)\}", lambda m: found.groupdict().get(m[1], m[0]), new) == after


def _changed_lines(old: list[Any], new: list[Any]) -> tuple[list[str], list[str]]:
    """Of two lists of different length, what only one of them has."""
    before, after = ([json.dumps(one, sort_keys=True) for one in items] for items in (old, new))
    changed = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    return [line[2:] for line in changed if line[0] == "-"], [line[2:] for line in changed if line[0] == "+"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 400 else f"{text[:400]}…"
