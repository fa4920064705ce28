"""What is said of each structure: segmented, absent, not examined; and what a model made and nobody has looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, expect

from app.core.label import ORIGINAL, Submission
from app.core.mask import Mask
from tests.browser.axe import serious
from tests.browser.page import Visit, visiting
from tests.browser.site import RADIUS, SHAPE, Site, over_folder

pytestmark = pytest.mark.browser

NAME = "straight"
AT = (23, 32, 16)
CUBE = tuple(slice(x - RADIUS, x + RADIUS + 1) for x in AT)
STRUCTURES = ["liver", "spleen", "left kidney"]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory, viewer_dir: Path) -> Iterator[Site]:
    with over_folder(tmp_path_factory.mktemp("site"), viewer_dir, labels={"structures": STRUCTURES}) as site:
        yield site


@pytest.fixture
def small(chromium: Browser, three: Site, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """On a small screen."""
    with visiting(chromium, three, request.node.name) as visit:
        visit.page.set_viewport_size({"width": 1280, "height": 720})
        yield visit


def state(visit: Visit, name: str) -> Locator:
    return visit.page.locator(f'[data-segloop="state-{name}"]')


def shown(visit: Visit) -> list[str]:
    return [state(visit, name).inner_text() for name in STRUCTURES]


def test_only_what_is_marked_is_absent(small: Visit) -> None:
    page = small.page
    small.open(NAME)
    assert shown(small) == ["not examined"] * 3
    small.panel("submit").click()
    small.until("nothing is marked as absent")
    assert small.site.labels(NAME) == []

    small.go_to_slice(NAME, AT[0])
    small.panel("point").click()
    small.click(NAME, AT)
    assert shown(small) == ["segmented", "not examined", "not examined"]
    expect(state(small, "liver")).to_be_disabled()
    state(small, "left kidney").click()
    assert shown(small) == ["segmented", "not examined", "absent"]
    small.picture("marked")
    assert serious(page, ".segloop") == []
    page.keyboard.press("k")  # the key marks the chosen structure
    page.keyboard.press("m")
    assert shown(small) == ["segmented", "absent", "absent"]
    page.keyboard.press("m")
    small.panel("submit").click()
    small.until("Stored as version 1")

    (label,) = small.site.labels(NAME)
    assert label["structures"] == ["liver", "left kidney"]
    assert label["states"] == {"liver": "segmented", "spleen": "not_examined", "left kidney": "absent"}
    expected = np.zeros(SHAPE, np.uint8)
    expected[CUBE] = 1
    np.testing.assert_array_equal(small.submitted[-1], expected)
    np.testing.assert_array_equal(small.site.stored(NAME)["liver"], expected)

    # Voxels say that it is there; without them it is as before.
    page.locator('[data-structure="left kidney"]').click()
    small.go_to_slice(NAME, 10)
    small.click(NAME, (10, 10, 10))
    assert shown(small) == ["segmented", "not examined", "segmented"]
    page.keyboard.press("u")
    small.until("Taken back")
    assert shown(small) == ["segmented", "not examined", "absent"], "as it was said before"

    page.get_by_role("button", name=re.compile("^Load version 1")).click()
    small.until("Press once more")
    page.get_by_role("button", name=re.compile("^Load version 1")).click()
    small.until("This is version 1")
    assert shown(small) == ["segmented", "not examined", "absent"]


def test_what_a_model_made_and_nobody_looked_at_is_not_examined(small: Visit) -> None:
    page, name = small.page, "reversed"
    small.open(name)
    page.keyboard.press("g")
    small.until("bands is done")
    assert shown(small) == ["not examined", "accept", "accept"], "it found no liver"
    small.panel("submit").click()
    small.until("nobody has looked at it")
    small.picture("guessed")
    assert serious(page, ".segloop") == []

    state(small, "spleen").click()
    assert shown(small) == ["not examined", "segmented", "accept"]
    small.panel("submit").click()
    small.until("Left out, because nobody has looked at what a model made: left kidney")
    small.panel("submit").click()
    small.until("Stored as version 1")
    (label,) = small.site.labels(name)
    assert label["states"] == {"liver": "not_examined", "spleen": "segmented", "left kidney": "not_examined"}
    values = small.site.truth[name].voxels.astype(float)
    bands = np.minimum(np.floor((values - values.min()) / np.ptp(values) * 4), 3)
    np.testing.assert_array_equal(small.submitted[-1], bands == 2)

    small.panel("accept").click()
    assert shown(small) == ["not examined", "segmented", "segmented"]
    expect(small.panel("accept")).to_be_hidden()


def test_a_pre_annotation_is_a_guess_and_a_label_is_not(small: Visit) -> None:
    name = "oblique"
    labels, case_id = small.site.services.labels, small.site.cases[name]
    labelmap = np.zeros(SHAPE, np.uint8)
    labelmap[CUBE] = 2
    mask = Mask.single(labelmap, STRUCTURES, small.site.truth[name].geometry)
    labels.keep_answer(case_id, mask, Submission("bands", "segloop", ORIGINAL, "bands"))
    small.open(name)
    small.page.get_by_role("button", name=re.compile("^Load version 1 by bands")).click()
    small.until("This is version 1 by bands")
    assert shown(small) == ["not examined", "accept", "not examined"]
    small.page.locator("[data-structure=spleen]").click()
    small.panel("point").click()
    small.go_to_slice(name, AT[0])
    small.click(name, (AT[0], AT[1] + 8, AT[2]))
    assert shown(small) == ["not examined", "segmented", "not examined"], "a prompt has touched it"
