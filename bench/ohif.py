"""OHIF in headless Chromium: the first image, and a click.

- First image: from opening the address of a case, with a fresh browser profile, until its first image is drawn. Ours:
  through `segloop serve` over Orthanc, with our panel. Orthanc: the same OHIF with the images straight from Orthanc's
  DICOMweb, and OHIF's own segmentation mode.
- Click: from mouse-up until the frame that shows the painted label map begins, against what the server says the model
  took. The model is the fake one, which takes next to nothing: what is left is ours, and the browser's. Without a
  graphics card every frame of the page is computed, which is most of it; a small window keeps that down.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from playwright.sync_api import Browser, Page, sync_playwright

from app.web.viewer.install import fetch, install
from app.web.viewer.page import app_config
from bench.archive import orthanc_with
from bench.data import Plan, Series, ct
from bench.measure import Contender, Timing, interleave
from bench.report import Row, added, ratio
from bench.server import Server, serving

MOST_TIMES, MOST_ADDED = 1.2, 0.150
MODELS = {"clicks": {"type": "fake"}}

# Both with the same flags: the pages of one server may read the other's images only without the browser's own check.
_FLAGS = ["--no-sandbox", "--disable-web-security"]

_DRAWN = """() => (window.cornerstone?.getEnabledElements() ?? []).map(one => one.viewport)
    .some(at => at.getImageData?.() && !['noData', 'loading', 'preRender'].includes(at.viewportStatus))"""

_WATCH = """() => {
    const seen = window.seen = { clicks: [] };
    const { eventTarget } = window.cornerstone, { SEGMENTATION_DATA_MODIFIED } = window.cornerstoneTools.Enums.Events;
    document.addEventListener('mouseup', () => (seen.released = performance.now()), true);
    const send = window.fetch;
    window.fetch = async (...asked) => {
        const answer = await send(...asked);
        if (String(asked[0]).endsWith('/prompts')) { seen.model = (await answer.clone().json()).seconds; }
        return answer;
    };
    eventTarget.addEventListener(SEGMENTATION_DATA_MODIFIED, () => requestAnimationFrame(() => {
        if (seen.model !== undefined) {
            seen.clicks.push([(performance.now() - seen.released) / 1000, seen.model]);
            seen.model = undefined;
        }
    }));
}"""


def run(plan: Plan) -> list[Row]:
    series = ct(plan)
    workspace = plan.new_folder("ohif") / "workspace"
    with tempfile.TemporaryDirectory() as scratch:
        install(fetch(Path(scratch)), workspace / "viewer")
    program = shutil.which("chromium")
    with (
        orthanc_with(plan, series) as orthanc,
        serving(orthanc.url, workspace, MODELS) as server,
        sync_playwright() as play,
    ):
        server.wait_for_cases(1)
        browser = play.chromium.launch(executable_path=program, args=_FLAGS)
        times = interleave(
            {
                "ours": Contender(lambda: first_image(browser, server, series, "segloop", None)),
                "Orthanc": Contender(lambda: first_image(browser, server, series, "segmentation", orthanc.url)),
            },
            plan.repeats(5),
        )
        ours, model = clicks(browser, server, series, plan.repeats(20))
        browser.close()
    return [
        ratio("ohif", "first image in OHIF", times["ours"], "Orthanc", times["Orthanc"], MOST_TIMES),
        added("ohif", "click in OHIF, mouse-up to painted", ours, "the model alone", model, MOST_ADDED),
    ]


def first_image(browser: Browser, server: Server, series: Series, mode: str, images: str | None) -> None:
    context = browser.new_context(bypass_csp=True, viewport={"width": 1400, "height": 900})
    page = context.new_page()
    if images is not None:
        script = app_config("", "bench").replace(json.dumps("/dicom-web"), json.dumps(images))
        page.route("**/app-config.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    open_case(page, server, series, mode)
    context.close()


def open_case(page: Page, server: Server, series: Series, mode: str) -> None:
    page.goto(f"{server.address}/ohif/{mode}?StudyInstanceUIDs={series.study_uid}", wait_until="commit")
    page.wait_for_function(_DRAWN)


def clicks(browser: Browser, server: Server, series: Series, count: int) -> tuple[Timing, Timing]:
    """Seconds of each click, and what the model took of it. The first few load code and are not counted."""
    page = browser.new_context(viewport={"width": 900, "height": 640}).new_page()
    open_case(page, server, series, "segloop")
    page.get_by_role("button", name="Confirm and hide").click()
    tool = page.locator("[data-segloop=point]:enabled")
    tool.click()
    page.evaluate(_WATCH)
    warm = 3
    for number in range(count + warm):
        page.mouse.click(400 + 7 * (number % 12), 300 + 7 * (number // 12))
        wait_until(lambda done=number: page.evaluate("seen.clicks.length") > done)
        page.wait_for_timeout(100)
    pairs = page.evaluate("seen.clicks")[warm:]
    return Timing(tuple(taken for taken, _ in pairs)), Timing(tuple(model for _, model in pairs))


def wait_until(done: Callable[[], bool], seconds: float = 30.0) -> None:
    until = perf_counter() + seconds
    while not done():
        if perf_counter() > until:
            raise RuntimeError("the page didn't paint")
