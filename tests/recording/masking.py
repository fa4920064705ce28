"""What can't be the same in two runs, and what stands in its place. This is the only place that hides anything.

A value that a server made up (an id, a token) becomes a name with a number, the same wherever it comes again, so that a
session's id in a list is still the one that opening the session answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

IGNORED_HEADERS: Mapping[str, str] = {
    "date": "the time of the answer",
    "last-modified": "when a file was written",
}

MASKED_KEYS: Mapping[str, str] = {
    # JSON fields, by name. The type of the value is kept, and null stays null.
    **dict.fromkeys(("ts", "create_ts", "last_access_ts", "start_ts", "end_ts", "modified_time"), "time"),
    **dict.fromkeys(("created", "started", "finished", "opened", "used", "at", "oldest", "next", "expires"), "time"),
    **dict.fromkeys(("seconds", "oldest_seconds", "expiry", "remaining_seconds", "total_time"), "duration"),
    "disk_free_bytes": "disk",
    "details": "log: the lines that a job wrote name modules and times",
    # DICOM elements (PS3.18 F.2): instance creation, content, and contribution date and time
    **dict.fromkeys(("00080012", "00080013", "00080023", "00080033", "0018A002"), "time"),
}

LEARNT_KEYS: Mapping[str, str] = {
    # JSON fields whose text a server made up; masked by value, wherever it comes.
    "session_id": "session",
    "lease_token": "lease",
    "sop_instance_uid": "instance",
    "id": "id",
    "nonce": "nonce",
}

UNDESCRIBED = frozenset({"operationId", "tags", "title", "description", "summary", "discriminator"})
"""What `/openapi.json` says beyond paths, parameters and shapes: documentation, and names of functions and classes."""

_MADE_UP = 16
"""Values shorter than this are not learnt: numbers of labels, and names that a script gave."""

RECENT_DAYS = 60
"""Dates within so many days of today come from the clock; the studies are older."""


@dataclass(frozen=True)
class Rule:
    """A pattern in texts; `why` is for the reader."""

    pattern: re.Pattern[str]
    mask: str
    why: str


RULES = (
    Rule(re.compile(r"boundary=\"?[\w'()+,./:=?-]+\"?"), "boundary=<boundary>", "drawn for each multipart answer"),
    Rule(re.compile(r"mask_[0-9a-f]{16}"), "mask_<random>", "file name of MONAI Label's masks"),
    Rule(re.compile(r"\bv(\d{4})-[0-9a-f]{8}\b"), r"v\1-<random>", "file name of a label version"),
    Rule(re.compile(r"\b(dataset|form|stow)-\w{8}\b"), r"\1-<random>", "temporary file or folder"),
    Rule(
        re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(UTC|Z|[+-]\d\d:?\d\d))?"), "<time>", "the clock"
    ),
    Rule(re.compile(r"^\d+(\.\d+)? ?(ms|s|min|h)$"), "<duration>", "how long a job took, on the dashboard"),
    Rule(re.compile(r"\b\d+(\.\d+)? [GT]B free"), "<disk> free", "free disk space"),
)
_SESSION_ON_A_PAGE = re.compile(r"\bsessions/([0-9a-f]{16})/")
_DAY = re.compile(r"\b(\d{4})-?(\d\d)-?(\d\d)\b")
_RANDOM_UID = re.compile(r"\b1\.2\.826\.0\.1\.3680043\.(?:8\.498|10\.511\.3)\.\d{20,}\b")


@dataclass
class Masks:
    """What is hidden in one recording. `known` are the UIDs of the images, which no server made up; `places` are
    folders and ports of this run, each with what stands for it."""

    known: Collection[str] = ()
    places: dict[str, str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def learn(self, kind: str, value: object) -> None:
        """Mask `value` by its kind and a number from now on, and in what was recorded before."""
        if isinstance(value, str) and len(value) >= _MADE_UP and value not in self.known and value not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[value] = f"<{kind} {self._counts[kind]}>"

    def learn_from(self, value: Any) -> None:
        """Find what a server made up in a described body."""
        if isinstance(value, list):
            for one in value:
                self.learn_from(one)
        if not isinstance(value, dict):
            return
        for key, one in value.items():
            if key in LEARNT_KEYS:
                self.learn(LEARNT_KEYS[key], one)
            self.learn_from(one)
        if {"name", "case_id", "model"} <= value.keys():
            self.learn("session name", value["name"])
        if found := _SESSION_ON_A_PAGE.search(str(value.get("data-url", ""))):
            self.learn("session name", found[1])
        for uid in value.get("00080018", {}).get("Value", ()) if isinstance(value.get("00080018"), dict) else ():
            self.learn("instance", uid)

    def text(self, text: str) -> str:
        for pattern, replaced in self._patterns():
            text = pattern.sub(replaced, text)
        for rule in RULES:
            text = rule.pattern.sub(rule.mask, text)
        return _DAY.sub(_day, text)

    def value(self, value: Any, key: str = "") -> Any:
        """A described body with everything hidden that has to be."""
        if key in MASKED_KEYS and value is not None and value != []:
            return f"<{MASKED_KEYS[key].partition(':')[0]}: {type(value).__name__}>"
        if isinstance(value, dict):
            masked = {self.text(name): self.value(one, name) for name, one in value.items()}
            if "sha256" in value and value.get("sop_instance_uid"):
                masked["sha256"] = "<digest>"  # of a DICOM file with times and a UID in it; the file itself is compared
            return masked
        if isinstance(value, list):
            return [self.value(one) for one in value]
        return self.text(value) if isinstance(value, str) else value

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in headers.items() if name not in IGNORED_HEADERS}
        return {name: self.text(value) for name, value in sorted(kept.items())}

    def _patterns(self) -> list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]]:
        """Places and learnt values; longer ones first, as one may begin with another."""
        exact = {**self._names, **self.places}
        if not exact:
            return []
        found = "|".join(re.escape(value) for value in sorted(exact, key=len, reverse=True))
        return [
            (re.compile(rf"(?<!\w)(?:{found})(?!\w)"), lambda match: exact[match[0]]),
            (_RANDOM_UID, self._random_uid),
        ]

    def _random_uid(self, match: re.Match[str]) -> str:
        if match[0] in self.known:
            return match[0]
        self.learn("uid", match[0])
        return self._names[match[0]]


def _day(match: re.Match[str]) -> str:
    try:
        found = date(*map(int, match.groups()))
    except ValueError:
        return match[0]
    return "<date>" if abs(datetime.now(UTC).date() - found) < timedelta(days=RECENT_DAYS) else match[0]
