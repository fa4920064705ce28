"""A person at the browser: what they look at, click and draw, in words of voxels."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Locator, Route

from tests.browser.site import SHAPE, Site
from tests.browser.watching import Watched, watching

Index = tuple[int, int, int]

# Cornerstone puts itself into the page's window; the first, second, ... viewport from the left.
_VIEWPORT = "const at = window.cornerstone.getEnabledElements()[n].viewport;"
_TO_CANVAS = f"""([n, world]) => {{ {_VIEWPORT}
    const [x, y] = at.worldToCanvas(world), box = at.element.getBoundingClientRect();
    return [x + box.left, y + box.top] }}"""
_TO_WORLD = f"""([n, x, y]) => {{ {_VIEWPORT}
    const box = at.element.getBoundingClientRect(); return [...at.canvasToWorld([x - box.left, y - box.top])] }}"""
_MIDDLE = f"""n => {{ {_VIEWPORT}
    const box = at.element.getBoundingClientRect(); return [box.left + box.width / 2, box.top + box.height / 2] }}"""
_GO_TO = f"""([n, world]) => {{ {_VIEWPORT}
    if (at.jumpToWorld) {{ at.jumpToWorld(world); at.render(); return; }}
    const far = id => {{ const at = window.cornerstone.metaData.get('imagePlaneModule', id).imagePositionPatient;
        return Math.hypot(...at.map((value, m) => value - world[m])) }};
    const away = at.getImageIds().map(far);
    return at.setImageIdIndex(away.indexOf(Math.min(...away))) }}"""
_IDLE = """text => { const line = document.querySelector('[data-segloop=status]');
    return line && line.dataset.busy === 'false' && line.textContent.includes(text) }"""
_DRAWN = """count => { const all = (window.cornerstone?.getEnabledElements() ?? []).map(one => one.viewport);
    return all.length === count && all.every(one => (count === 1 || one.type === 'orthographic')
        && one.getImageData?.() && !['noData', 'loading', 'preRender'].includes(one.viewportStatus)) }"""

# Playwright shows no bodies that have files in them.
_KEEP_LABELS = """window.sentLabels = []; const send = window.fetch;
    window.fetch = (url, options) => {
        if (options?.body instanceof FormData && options.body.has('voxels')) {
            window.sentLabels.push(options.body.get('voxels').arrayBuffer().then(bytes => [...new Uint8Array(bytes)]));
        }
        return send(url, options);
    }"""


class Visit:
    """One page, and whoever looks at it."""

    def __init__(self, watched: Watched, site: Site, name: str) -> None:
        self.watched = watched
        self.page = watched.page
        self.site = site
        self._name = re.sub(r"\W+", "-", name).strip("-")
        self.page.add_init_script(_KEEP_LABELS)

    @property
    def submitted(self) -> list[NDArray[np.uint8]]:
        """The voxels (k, j, i) of each label that this page sent."""
        return self.submitted_as(SHAPE)

    def submitted_as(self, shape: Index) -> list[NDArray[np.uint8]]:
        """`submitted`, of images of this shape."""
        sent = self.page.evaluate("Promise.all(window.sentLabels)")
        return [np.frombuffer(gzip.decompress(bytes(one)), np.uint8).reshape(shape) for one in sent]

    # Where things are

    def panel(self, name: str) -> Locator:
        return self.page.locator(f"[data-segloop={name}]")

    @property
    def status(self) -> str:
        return self.panel("status").inner_text()

    def until(self, text: str) -> None:
        """Wait until the panel is at rest and says so."""
        self.page.wait_for_function(_IDLE, arg=text)

    def picture(self, name: str) -> None:
        self.watched.screenshot(f"{self._name}-{name}")

    @contextmanager
    def held(self, pattern: str, then: Callable[[Route], None] = Route.continue_) -> Iterator[None]:
        """Requests that wait for the end of the block, and what becomes of them then."""
        waiting: list[Route] = []

        def hold(route: Route) -> None:
            waiting.append(route)

        self.page.route(pattern, hold)
        yield
        for route in waiting:
            then(route)
        self.page.unroute(pattern)

    # Going places

    def study_list(self) -> None:
        self.page.goto(f"{self.site.url}/ohif/")
        self.accept()

    def accept(self) -> None:
        """OHIF's notice that it is for investigational use."""
        self.page.get_by_role("button", name="Confirm and hide").click()

    def open(self, name: str) -> None:
        """A case by its address, as a link from elsewhere would do."""
        site = self.site
        series = site.series.get(name, site.cases[name])
        query = f"StudyInstanceUIDs={site.studies[name]}&initialSeriesInstanceUID={series}"
        self.page.goto(f"{site.url}/ohif/segloop?{query}")
        self.opened()
        self.accept()

    def opened(self, viewports: int = 1) -> None:
        self.until("Ready")
        self.page.wait_for_function(_DRAWN, arg=viewports)

    def layout(self, protocol: str, viewports: int) -> None:
        self.page.evaluate("id => window.commandsManager.run('setHangingProtocol', { protocolId: id })", protocol)
        self.page.wait_for_function(_DRAWN, arg=viewports)
        self.page.wait_for_timeout(500)

    def go_to_slice(self, name: str, k: int) -> None:
        """The image that lies where slice k does, not the k-th. OHIF may show one view as a stack or as a volume."""
        self.page.evaluate(_GO_TO, [0, self._world(name, (k, 0, 0))])
        self.page.wait_for_timeout(300)

    # Drawing

    def spot(self, name: str, at: Index, viewport: int = 0) -> tuple[float, float]:
        """Where a voxel's centre is on the screen."""
        x, y = self.page.evaluate(_TO_CANVAS, [viewport, self._world(name, at)])
        return x, y

    def middle_voxel(
        self, name: str, viewport: int, aside: tuple[int, int] = (0, 0)
    ) -> tuple[Index, tuple[float, float]]:
        """The voxel that is seen in the middle of a viewport, or some pixels aside, and where that is on the screen."""
        left, top = self.page.evaluate(_MIDDLE, viewport)
        x, y = round(left) + aside[0], round(top) + aside[1]
        world = self.page.evaluate(_TO_WORLD, [viewport, x, y])
        i, j, k = np.rint((np.linalg.inv(self.site.truth[name].geometry.affine) @ [*world, 1.0])[:3]).astype(int)
        return (int(k), int(j), int(i)), (x, y)

    def voxels_under(
        self, name: str, viewport: int, low: tuple[float, float], high: tuple[float, float]
    ) -> NDArray[np.bool_]:
        """The voxels that lie under a rectangle of the screen, looked at every half pixel."""
        left_top, right_top, left_bottom = (
            np.array(self.page.evaluate(_TO_WORLD, [viewport, x, y]))
            for x, y in (low, (high[0], low[1]), (low[0], high[1]))
        )
        across, down = (np.linspace(0, 1, 2 * round(high[n] - low[n]) + 1) for n in (0, 1))
        offsets = across[None, :, None] * (right_top - left_top) + down[:, None, None] * (left_bottom - left_top)
        worlds = left_top + offsets.reshape(-1, 3)
        inverse = np.linalg.inv(self.site.truth[name].geometry.affine)
        i, j, k = np.rint(worlds @ inverse[:3, :3].T + inverse[:3, 3]).astype(int).T
        here = (k >= 0) & (k < SHAPE[0]) & (j >= 0) & (j < SHAPE[1]) & (i >= 0) & (i < SHAPE[2])
        under = np.zeros(SHAPE, bool)
        under[k[here], j[here], i[here]] = True
        return under

    def click(self, name: str, at: Index, viewport: int = 0) -> None:
        self.page.mouse.click(*self.spot(name, at, viewport))
        self.answered()

    def stroke(self, name: str, through: Sequence[Index]) -> None:
        """Press on the first voxel, move over the others, let go on the last."""
        mouse = self.page.mouse
        first, *others = (self.spot(name, at) for at in through)
        mouse.move(*first)
        mouse.down()
        for x, y in others:
            mouse.move(x, y, steps=8)
        mouse.up()

    def answered(self) -> None:
        # The line says so of the prompt before, until the page has heard of this one.
        self.page.wait_for_timeout(150)
        self.until("Answered in")

    def colour(self, name: str, at: Index, viewport: int = 0) -> tuple[int, int, int]:
        """What is seen at a voxel: red, green, blue."""
        x, y = self.spot(name, at, viewport)
        shown = Image.open(io.BytesIO(self.page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})))
        red, green, blue = shown.convert("RGB").getpixel((0, 0))  # type: ignore[misc]
        return red, green, blue

    def _world(self, name: str, at: Index) -> list[float]:
        k, j, i = at
        world: list[float] = (self.site.truth[name].geometry.affine @ [i, j, k, 1.0])[:3].tolist()
        return world


@contextmanager
def visiting(browser: Browser, site: Site, name: str, **context: Any) -> Iterator[Visit]:
    """OHIF warns of much that is of no concern; errors are."""
    with watching(browser, site.url, ["error"], **{"viewport": {"width": 1400, "height": 900}, **context}) as one:
        visit = Visit(one, site, name)
        try:
            yield visit
        finally:
            visit.picture("end")
            one.page.close()  # before what it may be saving is gone
            prompting = site.services.prompting
            for record in prompting.log.all():  # else the next visit would go on with this one's draft
                prompting.forget(record.id, record.owner)
    assert not one.wrong, one.wrong
