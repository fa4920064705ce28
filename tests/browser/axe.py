"""axe-core, fetched when a test wants it; no part of the project."""

from __future__ import annotations

import subprocess
import tarfile
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.exclusive import exclusive

VERSION = "4.14.1"
KEPT = Path(__file__).parents[2] / ".cache" / "axe-core"


@cache
def source() -> str:
    """The script; skips the test where npm, or its registry, can't be reached."""
    package = KEPT / f"axe-core-{VERSION}.tgz"
    with exclusive(KEPT):
        if not package.exists():
            KEPT.mkdir(parents=True, exist_ok=True)
            try:
                command = ["npm", "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", str(KEPT)]
                subprocess.run(command, check=True, capture_output=True, timeout=120)
            except (OSError, subprocess.SubprocessError) as error:
                pytest.skip(f"axe-core {VERSION} can't be had: {error}")
    with tarfile.open(package) as files:
        script = files.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def serious(page: Page, within: str = "html") -> list[str]:
    """What axe finds below a selector that is serious or worse, with where."""
    page.evaluate(source())
    found = page.evaluate("within => axe.run(within, {resultTypes: ['violations']})", within)
    return [
        f"{one['id']}: {node['html'][:120]} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
