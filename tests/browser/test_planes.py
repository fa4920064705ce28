"""All planes alike in the viewer: a stroke at the same place in the patient is the same voxels, whichever of the
image's axes its slice lies across. The page makes the prompt, the server's decoder the voxels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page
from pydantic import TypeAdapter

from app.core.prompt import Lasso, Scribble
from app.core.volume import Index
from app.dialects.api.prompts import PromptShape, decoded
from tests.browser.site import Site
from tests.browser.test_modules import run

pytestmark = pytest.mark.browser

SHAPE = (40, 64, 48)
LINE = np.array([(20.2, 14.3), (41.7, 17.6), (33.1, 38.9), (26.4, 22.2), (21.3, 34.8)])
"""Rows and columns."""

PROMPT = """const { Grid } = await import('/ohif/plugin/geometry.js');
    const grid = new Grid({ shape: a.shape, affine: a.affine });
    return m.promptOf({ kind: a.kind, include: true, worlds: a.worlds }, grid)"""


@pytest.fixture(scope="module")
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/livez")
    yield page
    context.close()


def voxels(page: Page, kind: str, worlds: NDArray[np.float64], affine: NDArray[np.float64], shape: Index) -> Any:
    asked = {"kind": kind, "worlds": worlds.tolist(), "shape": shape, "affine": affine.tolist()}
    sent: Any = TypeAdapter(PromptShape).validate_python(run(page, "stroke_prompts", PROMPT, asked))
    prompt = decoded(sent, shape)
    assert isinstance(prompt, Scribble | Lasso)
    whole = np.zeros(shape, bool)
    whole[prompt.region.slices] = prompt.voxels
    return whole


@pytest.mark.parametrize("name", ["straight", "both"])
@pytest.mark.parametrize(("kind", "tilt"), [("scribble", 0.0), ("lasso", 0.0), ("lasso", 0.2)])
@pytest.mark.parametrize("depth", [17.0, 17.3, 16.5])
def test_a_stroke_is_the_same_voxels_in_every_plane(
    page: Page, site: Site, name: str, kind: str, tilt: float, depth: float
) -> None:
    affine = site.truth[name].geometry.affine.copy()
    affine[:3, 0] *= -1  # columns that run backwards, too
    index = np.column_stack([np.full(len(LINE), depth) + tilt * (LINE[:, 0] - 30), LINE])
    worlds = (np.c_[index[:, ::-1], np.ones(len(LINE))] @ affine.T)[:, :3]
    expected = voxels(page, kind, worlds, affine, SHAPE)
    slices = np.nonzero(expected)[0]
    assert expected.any()
    assert len(set(slices)) == 1 or tilt or kind == "scribble"
    for axes in list(permutations(range(3)))[1:]:
        turned = affine.copy()
        turned[:3, :3] = affine[:3, [2 - axes[2 - column] for column in range(3)]]
        k, j, i = (SHAPE[a] for a in axes)
        found = voxels(page, kind, worlds, turned, (k, j, i))
        np.testing.assert_array_equal(found.transpose(np.argsort(axes)), expected)
