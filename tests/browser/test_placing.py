"""Masks lie where the images lie: oblique series, instance numbers or frames against positions, in one view and in
three."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect
from pydicom.uid import UltrasoundMultiFrameImageStorage

from tests.browser.page import Index, Visit, visiting
from tests.browser.site import RADIUS, SHAPE, Site, over_folder
from tests.dicom.synthetic import enhanced_series, write_series

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site_of_frames(tmp_path_factory: pytest.TempPathFactory, viewer_dir: Path) -> Iterator[Site]:
    """Each series is one multi-frame instance."""
    with over_folder(tmp_path_factory.mktemp("frames"), viewer_dir, frames=True) as site:
        yield site


@pytest.mark.parametrize("name", ["oblique", "reversed", "both"])
def test_prompts_and_masks_of_turned_series(visit: Visit, name: str) -> None:
    click_in_every_view(visit, name)


@pytest.mark.parametrize("name", ["straight", "both"])
def test_prompts_and_masks_of_one_instance_with_many_frames(chromium: Browser, site_of_frames: Site, name: str) -> None:
    with visiting(chromium, site_of_frames, f"frames-{name}") as visit:
        click_in_every_view(visit, name)


def test_frames_that_are_no_volume_say_so(chromium: Browser, tmp_path: Path, viewer_dir: Path) -> None:
    """The frames of two time points at the same places, with nothing that tells them apart; and an ultrasound clip."""
    twice, _ = enhanced_series(SHAPE, patient=8)
    frames = twice.PerFrameFunctionalGroupsSequence
    for n in range(SHAPE[0] // 2):
        frames[n + SHAPE[0] // 2].PlanePositionSequence = frames[n].PlanePositionSequence
    clip, _ = enhanced_series(SHAPE, patient=9)
    clip.SOPClassUID = clip.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    clip.Modality = "US"
    del clip.SharedFunctionalGroupsSequence, clip.PerFrameFunctionalGroupsSequence
    write_series([twice, clip], tmp_path / "studies" / "odd")
    with over_folder(tmp_path, viewer_dir) as site, visiting(chromium, site, "no_volume") as visit:
        for dataset, text in [
            (twice, "This series cannot be labelled: at 20 of 20 places lie different images"),
            (clip, "This series is no case of this server"),
        ]:
            visit.page.goto(f"{site.url}/ohif/segloop?StudyInstanceUIDs={dataset.StudyInstanceUID}")
            visit.until(text)
            expect(visit.panel("status").get_by_role("alert")).to_contain_text(text)
            expect(visit.panel("submit")).to_be_disabled()
            visit.picture(dataset.Modality)
        visit.watched.forgive("422", "404")


def click_in_every_view(visit: Visit, name: str) -> None:
    visit.open(name)
    expected = np.zeros(SHAPE, np.uint8)
    at = (23, 32, 16)
    visit.go_to_slice(name, at[0])
    visit.panel("point").click()
    visit.click(name, at)
    expected[_around(at)] = 1
    red, green, _ = visit.colour(name, at)
    assert red > green + 40
    visit.picture("1-one-view")

    visit.layout("mpr", 3)
    visit.panel("point").click()
    for viewport, aside in enumerate([(-20, -30), (15, 25), (-15, 40)]):
        seen, (x, y) = visit.middle_voxel(name, viewport, aside)
        visit.page.mouse.click(x, y)
        visit.answered()
        expected[_around(seen)] = 1
    visit.picture("2-three-views")

    visit.panel("submit").click()
    visit.until("Stored as version 1")
    (sent,) = visit.submitted
    np.testing.assert_array_equal(sent, expected)
    np.testing.assert_array_equal(visit.site.stored(name)["liver"], expected)


def test_a_lasso_across_the_voxels_of_an_oblique_series(visit: Visit) -> None:
    """Drawn on a patient's axial plane, it cuts through several slices; the voxels under it are worked out in numpy."""
    name = "oblique"
    visit.open(name)
    visit.layout("mpr", 3)
    visit.panel("lasso").click()
    _, (x, y) = visit.middle_voxel(name, 0)
    corners = [(x - 40, y - 30), (x + 40, y - 30), (x + 40, y + 30), (x - 40, y + 30)]
    mouse = visit.page.mouse
    mouse.move(*corners[0])
    mouse.down()
    for corner in corners[1:]:
        mouse.move(*corner, steps=8)
    mouse.up()
    visit.answered()
    visit.picture("lasso")
    visit.panel("submit").click()
    visit.until("Stored as version")

    inside = visit.voxels_under(name, 0, corners[0], corners[2])
    sent = visit.submitted[-1] == 1
    assert len(set(np.nonzero(sent)[0])) > 3, "it goes through several slices"
    # A pixel more or less on the line is not the point.
    assert np.count_nonzero(sent ^ inside) < 0.15 * np.count_nonzero(inside)
    np.testing.assert_array_equal(visit.site.stored(name)["liver"], sent)


def _around(at: Index) -> tuple[slice, ...]:
    return tuple(slice(max(0, x - RADIUS), x + RADIUS + 1) for x in at)
