"""The extension's pure modules against numpy: indices and positions, bits, boxes of voxels."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from tests.browser.site import Site

pytestmark = pytest.mark.browser

SHAPE = (4, 7, 5)


@pytest.fixture
def page(chromium: Browser, site: Site) -> Iterator[Page]:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{site.url}/livez")
    yield page
    context.close()


def run(page: Page, module: str, body: str, argument: object) -> object:
    """What `body` returns, with the module's exports as `m` and the argument as `a`."""
    return page.evaluate(f"async a => {{ const m = await import('/ohif/plugin/{module}.js'); {body} }}", argument)


@pytest.mark.parametrize("name", ["straight", "oblique", "both"])
def test_indices_and_positions(page: Page, site: Site, name: str) -> None:
    affine = site.truth[name].geometry.affine
    indices = np.random.default_rng(1).uniform(-3, 60, (20, 3))
    worlds = np.c_[indices[:, ::-1], np.ones(20)] @ affine.T
    given = {"affine": affine.tolist(), "indices": indices.tolist(), "worlds": worlds[:, :3].tolist()}
    grid = "const grid = new m.Grid({ shape: [40, 64, 48], affine: a.affine });"
    found = run(page, "geometry", f"{grid} return a.worlds.map(world => grid.toIndex(world))", given)
    np.testing.assert_allclose(found, indices, atol=1e-9)
    found = run(page, "geometry", f"{grid} return a.indices.map(index => grid.toWorld(index))", given)
    np.testing.assert_allclose(found, worlds[:, :3], atol=1e-9)


def test_bits_and_gzip(page: Page) -> None:
    voxels = np.random.default_rng(2).integers(0, 2, SHAPE, np.uint8)
    packed = run(page, "masks", "return m.toBase64(m.packBits(Uint8Array.from(a)))", voxels.ravel().tolist())
    assert base64.b64decode(str(packed)) == np.packbits(voxels).tobytes()
    long = list(range(256)) * 1000
    back = "const b = Uint8Array.from(a); return [...await m.gunzip(m.fromBase64(m.toBase64(await m.gzip(b))))]"
    assert run(page, "masks", back, long) == long


def test_painting_a_box_leaves_other_segments_alone(page: Page) -> None:
    rng = np.random.default_rng(3)
    before = rng.integers(0, 3, SHAPE, np.uint8)
    low, high = (1, 2, 1), (3, 6, 4)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    answer = rng.integers(0, 2, before[box].shape, np.uint8)
    expected = before.copy()
    part = expected[box]
    part[(answer == 1) & (part == 0)] = 2
    part[(answer == 0) & (before[box] == 2)] = 0

    body = """const whole = Uint8Array.from(a.before), slices = m.slicesOf(whole, a.shape), known = whole.slice();
        const changed = m.paintBox(slices, a.shape, a.box, Uint8Array.from(a.answer), 2);
        return [[...whole], changed, [...m.differences(slices, a.shape, known)]] """
    given = {
        "before": before.ravel().tolist(),
        "answer": answer.ravel().tolist(),
        "shape": SHAPE,
        "box": {"low": low, "high": high},
    }
    found, changed, numbers = run(page, "masks", body, given)  # type: ignore[misc]
    np.testing.assert_array_equal(np.reshape(found, SHAPE), expected)
    assert changed == sorted(set(np.nonzero(expected != before)[0].tolist()))
    where = np.argwhere(expected != before)
    box = {"low": where.min(axis=0).tolist(), "high": (where.max(axis=0) + 1).tolist()}
    assert numbers == [[2, box]]


def test_keys_are_each_their_own_and_text_fields_keep_theirs(page: Page) -> None:
    body = """const press = (key, more) => m.actionOf({ key, ...more });
        const field = document.createElement('input');
        return [m.SHORTCUTS.map(([keys]) => keys), press('p'), press('S', { shiftKey: true }), press('s'),
            press('p', { ctrlKey: true }), press('p', { target: field }), press('U', {}), press('z', { ctrlKey: true }),
            press('Z', { ctrlKey: true, shiftKey: true }), press('y', { metaKey: true }), press('z', {})]"""
    keys, *actions = run(page, "shortcuts", body, None)  # type: ignore[misc]
    assert len(keys) == len(set(keys))
    assert actions == ["point", "submit", None, None, None, "undo", "undo", "redo", "redo", None]
