"""A page that is watched: what it asks of whom, and what it writes to the console."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RESULTS = Path(__file__).parents[2] / "test-results"
"""Screenshots, kept as artefacts of a run; not part of the project."""

PATIENCE = 20_000
"""Milliseconds that anything may take: the machine may be busy with something else."""


@dataclass
class Watched:
    """`asked` is every address that the page asked for. `wrong` are those of other servers, what it complained of in
    the console, and errors that nobody caught."""

    page: Page
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def screenshot(self, name: str, whole: bool = False) -> None:
        RESULTS.mkdir(exist_ok=True)
        self.page.screenshot(path=RESULTS / f"{name}.png", full_page=whole)

    def forgive(self, *texts: str) -> None:
        """Forget errors that a test brought about on purpose; there has to be one of each."""
        for text in texts:
            kept = [one for one in self.wrong if text not in one]
            assert len(kept) < len(self.wrong), f"{text!r} is not among {self.wrong}"
            self.wrong[:] = kept


@contextmanager
def watching(browser: Browser, url: str, complaints: Collection[str], **context: Any) -> Iterator[Watched]:
    """A new page that is nowhere yet, and may ask nobody but the server of `url`. `complaints` are kinds of what a
    console says ("error", "warning"); `context` is Playwright's."""
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    opened = browser.new_context(**context)
    page = opened.new_page()
    page.set_default_timeout(PATIENCE)
    one = Watched(page)
    origin = urlsplit(url).netloc

    def asks(address: str) -> None:
        one.asked.append(address)
        parts = urlsplit(address)
        if parts.scheme not in ("blob", "data") and parts.netloc != origin:
            one.wrong.append(address)

    def says(kind: str, text: str, where: str) -> None:
        if kind in complaints:
            one.wrong.append(f"{text} ({where})")

    page.on("console", lambda said: says(said.type, said.text, said.location.get("url", "")))
    page.on("pageerror", lambda error: one.wrong.append(str(error)))
    page.on("request", lambda request: asks(request.url))
    try:
        yield one
    finally:
        opened.close()


@contextmanager
def watched(
    browser: Browser, url: str, scheme: Literal["light", "dark"] = "light", width: int = 1280, **more: Any
) -> Iterator[Watched]:
    """The page at `url`."""
    context = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "locale": "en-GB", **more}
    with watching(browser, url, ("error", "warning"), **context) as one:
        one.page.goto(url)
        yield one
