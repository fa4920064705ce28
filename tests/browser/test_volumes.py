"""Volume files in OHIF: shown, labelled, and stored as what was drawn, on the file's own voxels."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser

from tests.browser.page import Index, Visit, visiting
from tests.browser.site import RADIUS, STRUCTURES, Site, over_volumes, seg_voxels
from tests.dicom.itk import read
from tests.dicom.synthetic import grid, phantom
from tests.volumes import grids, write_volume

pytestmark = pytest.mark.browser

SHAPE = (40, 64, 48)
SMALL = {"width": 1280, "height": 720}
FILES = {"reversed": "reversed.nrrd", "mirrored": "mirrored_t1.mha"}


@pytest.fixture(scope="module")
def volume_site(tmp_path_factory: pytest.TempPathFactory, viewer_dir: Path) -> Iterator[Site]:
    """Left-handed oblique grids: an NRRD of HU, and a MetaImage of small numbers that 16 bits don't hold."""
    folder = tmp_path_factory.mktemp("volumes")
    hu = phantom(SHAPE)
    unit = ((hu.astype(np.float32) + 1024) / 4096) ** 2
    for name, voxels in (("reversed", hu), ("mirrored", unit)):
        write_volume(folder / "studies" / FILES[name], voxels, grids(SHAPE)[name])
    for name in ("one", "two_pet", "three_mr"):
        write_volume(folder / "studies" / "next" / f"{name}.nii.gz", hu, grids(SHAPE)["plain"])
    write_volume(folder / "studies" / "tilted.nrrd", hu, grid(SHAPE, gantry_tilt=10))
    write_volume(folder / "studies" / "reversed_seg.nrrd", hu, grids(SHAPE)["reversed"])
    with over_volumes(folder, viewer_dir) as site:
        yield site


@pytest.mark.parametrize("file", FILES.values())
def test_nrrd_and_metaimage(chromium: Browser, volume_site: Site, file: str) -> None:
    with visiting(chromium, volume_site, f"volumes-{file}", viewport=SMALL) as visit:
        label_in_three_views(visit, file.partition(".")[0], (23, 32, 16))


@pytest.mark.data
def test_a_real_nifti(chromium: Browser, tmp_path: Path, viewer_dir: Path, shared_data: Path) -> None:
    source = shared_data / "ct_abdomen"
    (tmp_path / "studies").mkdir()
    for name in ("example_ct.nii.gz", "example_seg.nii.gz"):
        shutil.copy(source / name, tmp_path / "studies")
    with over_volumes(tmp_path, viewer_dir) as site, visiting(chromium, site, "real-nifti", viewport=SMALL) as visit:
        assert list(site.cases) == ["example_ct"]
        shape = site.truth["example_ct"].geometry.shape
        label_in_three_views(visit, "example_ct", (shape[0] // 2, shape[1] // 2, shape[2] // 2))


def label_in_three_views(visit: Visit, name: str, at: Index) -> None:
    geometry = visit.site.truth[name].geometry
    expected = np.zeros(geometry.shape, np.uint8)
    visit.open(name)
    assert name in visit.panel("case").inner_text()
    visit.go_to_slice(name, at[0])
    visit.picture("1-open")
    visit.panel("point").click()
    visit.click(name, at)
    expected[_around(at)] = 1
    red, green, _ = visit.colour(name, at)
    assert red > green + 40, "the mask is seen where it was clicked"

    k, j, i = at
    visit.panel("box").click()
    visit.stroke(name, [(k, j + 6, i - 4), (k, j + 10, i + 4)])
    visit.answered()
    expected[k, j + 6 : j + 11, i - 4 : i + 5] = 1

    visit.page.locator("[data-structure=spleen]").click()
    visit.panel("lasso").click()
    visit.stroke(name, [(k, j - 12, i - 6), (k, j - 12, i + 6), (k, j - 6, i + 6), (k, j - 6, i - 6)])
    visit.answered()
    visit.picture("2-prompts")

    visit.layout("mpr", 3)
    visit.panel("point").click()
    seen, (x, y) = visit.middle_voxel(name, 1, aside=(30, 20))
    visit.page.mouse.click(x, y)
    visit.answered()
    visit.picture("3-three-views")
    visit.panel("submit").click()
    visit.until("Stored as version")
    visit.picture("4-stored")

    (sent,) = visit.submitted_as(geometry.shape)
    np.testing.assert_array_equal(sent == 1, (expected == 1) & (sent != 2))
    assert sent[seen] == 2
    assert sent[k, j - 9, i] == 2, "inside the lasso"
    check_stored(visit.site, name, sent)


def check_stored(site: Site, name: str, sent: NDArray[np.uint8]) -> None:
    """The labelmap as SimpleITK reads it, and the SEG frame by frame."""
    (label,) = site.services.labels.history(name)
    store = site.services.project.labels
    voxels, place = read(store.intact(label))
    np.testing.assert_array_equal(voxels, sent)
    location = site.services.cases.get(name).case.location
    assert store.intact(label).name.endswith(location.partition(".")[2])
    _, image = read(Path(site.services.settings.studies) / location)
    assert place.difference(image, 1e-4) is None
    seg = store.seg_of(label)
    assert seg is not None
    stored = seg_voxels(seg.read_bytes(), site.truth[name])
    for number, structure in enumerate(STRUCTURES, start=1):
        np.testing.assert_array_equal(stored[structure], sent == number)


def test_next_and_skip_go_through_what_can_be_shown(chromium: Browser, volume_site: Site) -> None:
    """The sheared file is held for the same person, who was offered it in another viewer."""
    services = volume_site.services
    tilted = volume_site.cases["tilted"]
    with visiting(chromium, volume_site, "volumes-next", viewport=SMALL) as visit:
        visit.open("one")
        visit.panel("person").fill("Ada")
        while (offer := services.next_case.next("random", "Ada", {})).row.case.id != tilted:
            services.next_case.skip(offer.row.case.id, "Ada")
        shown = []
        for _ in range(4):
            visit.panel("skip").click()
            visit.opened()
            shown.append(visit.panel("case").inner_text())
        assert all(one != other for one, other in itertools.pairwise(shown)), shown
        assert not any("tilted" in one for one in shown)
        visit.picture("skipped")


def _around(at: Index) -> tuple[slice, ...]:
    return tuple(slice(max(0, x - RADIUS), x + RADIUS + 1) for x in at)
