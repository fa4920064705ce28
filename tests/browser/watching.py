"""A page that is watched: what it asks of whom, and what it writes to the console."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RESULTS = Path(__file__).parents[2] / "test-results"
"""Screenshots, kept as artefacts of a run; not part of the project."""


@dataclass
class Watched:
    """`wrong` are requests to other servers, errors in the console, and errors that nobody caught."""

    page: Page
    wrong: list[str] = field(default_factory=list)

    def screenshot(self, name: str, whole: bool = False) -> None:
        RESULTS.mkdir(exist_ok=True)
        self.page.screenshot(path=RESULTS / f"{name}.png", full_page=whole)

    def forgive(self, text: str) -> None:
        """Forget errors that a test brought about on purpose; there has to be one."""
        kept = [one for one in self.wrong if text not in one]
        assert len(kept) < len(self.wrong), f"{text!r} is not among {self.wrong}"
        self.wrong[:] = kept


@contextmanager
def watched(
    browser: Browser, url: str, scheme: Literal["light", "dark"] = "light", width: int = 1280, **more: Any
) -> Iterator[Watched]:
    from playwright.sync_api import expect

    expect.set_options(timeout=20_000)  # the machine may be busy with something else
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}, locale="en-GB", **more)
    page = context.new_page()
    one = Watched(page)
    origin = urlsplit(url).netloc
    page.on("console", lambda said: one.wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: one.wrong.append(str(error)))
    page.on("request", lambda asked: one.wrong.append(asked.url) if urlsplit(asked.url).netloc != origin else None)
    try:
        page.goto(url)
        yield one
    finally:
        context.close()
