"""Write docs/licences.md: what a plain installation brings, and under which licences. `python -m scripts.licences`.

Read from the metadata of what is installed here, following what segloop requires without its extras.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"

HEAD = """# Licences

Segloop is under Apache-2.0 (`LICENSE`), and so is the starter model. A plain installation brings the packages below.
None of them is under the GPL; those under the LGPL may be used beside code of any licence. Only for who asks for it:

- `segloop[graph-cut]`: PyMaxflow (GPL) for the graph cut of the scribble models; without it they use a random walk.
- Official nnInteractive weights (`segloop models pull`): CC BY-NC-SA 4.0, not for commercial use.
- OHIF (`segloop viewer install`): MIT.

Made by `python -m scripts.licences` from the packages' own metadata, on Linux with the CPU build of torch.

| package | licence |
| --- | --- |
"""


@dataclass(frozen=True)
class Licensed:
    """A package and what it says of its licence."""

    name: str
    licence: str


def licences() -> list[Licensed]:
    """What segloop requires, and what that requires, without extras that nobody asks for; by name."""
    found: dict[str, Licensed] = {}
    seen: set[tuple[str, str]] = set()

    def follow(lines: Iterable[str], extra: str = "") -> None:
        for requirement in map(Requirement, lines):
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            for wanted in ("", *requirement.extras):
                add(canonicalize_name(requirement.name), wanted)

    def add(name: str, extra: str) -> None:
        if (name, extra) in seen:
            return
        seen.add((name, extra))
        try:
            package = distribution(name)
        except PackageNotFoundError:
            return  # for another platform
        found[name] = Licensed(package.metadata["Name"], licence_of(package))
        follow(package.requires or (), extra)

    follow(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    return [found[name] for name in sorted(found)]


def licence_of(package: Distribution) -> str:
    """The SPDX expression, else the classifiers, else the first words of the licence field."""
    metadata = package.metadata
    if metadata.get("License-Expression"):
        return str(metadata["License-Expression"])
    classified = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or () if line.startswith("License ::")
    ]
    named = [one for one in classified if one != "OSI Approved"]
    if named:
        return ", ".join(dict.fromkeys(named))
    first = re.sub(r"\s+", " ", metadata.get("License") or "").strip()
    return first[:60] or "not stated"


def page() -> str:
    """The page's text."""
    return HEAD + "".join(f"| {one.name} | {one.licence.replace('|', ' or ')} |\n" for one in licences())


if __name__ == "__main__":
    PAGE.write_text(page())
