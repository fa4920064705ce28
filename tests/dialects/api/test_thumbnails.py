"""Pictures of cases."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.dialects.api.calls import API, get
from tests.dialects.monailabel.site import SHAPE, Site

PATH = f"{API}/cases/case 07/thumbnail"


def picture(site: Site, **query: object) -> NDArray[np.uint8]:
    answer = site.client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.array(Image.open(io.BytesIO(answer.content)))


def brightness(site: Site, k: int) -> NDArray[np.float64]:
    """Slice k, windowed by hand."""
    values = site.truth["case 07"].voxels[k].astype(float)
    low, high = np.percentile(values, (1, 99))
    return np.asarray(np.clip((values - low) / (high - low), 0, 1) * 255)


def test_a_picture_is_the_slice_in_true_proportions(site: Site) -> None:
    """16 columns of 0.9 mm, 20 rows of 0.8 mm: 14.4 by 16 mm."""
    found = picture(site, slice=3, size=320)
    assert found.shape == (320, 288)
    # The middle of each voxel, where smoothing leaves its value nearly alone.
    middles = found[8::16, 9::18].astype(float)
    assert np.corrcoef(middles.ravel(), brightness(site, 3).ravel())[0, 1] > 0.98
    assert np.corrcoef(middles.ravel(), brightness(site, 4).ravel())[0, 1] < 0.5


def test_without_a_slice_the_middle_then_the_most_uncertain(fresh: Site) -> None:
    np.testing.assert_array_equal(picture(fresh), picture(fresh, slice=SHAPE[0] // 2))
    fresh.services.project.catalog.scores.put("case 07", "entropy:bands", "bands-1", 0.5, 1.0, {"slices": [7, 1]})
    np.testing.assert_array_equal(picture(fresh), picture(fresh, slice=7))


def test_who_has_the_picture_is_told_so(fresh: Site) -> None:
    first = fresh.client.get(PATH)
    assert "max-age" in first.headers["cache-control"]
    again = fresh.client.get(PATH, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = fresh.client.get(PATH, params={"size": 64}, headers={"If-None-Match": first.headers["etag"]})
    assert other.status_code == 200


@pytest.mark.parametrize("k", [-1, SHAPE[0]])
def test_a_slice_that_is_not_there(site: Site, k: int) -> None:
    assert "slices 0 to 8" in get(site, "/cases/case 07/thumbnail", 400, params={"slice": k})["detail"]


@pytest.mark.parametrize("size", [0, 15, 1025, 10**9])
def test_sizes_have_limits(site: Site, size: int) -> None:
    assert "size" in get(site, "/cases/case 07/thumbnail", 422, params={"size": size})["detail"]


def test_an_archive_that_is_away_is_told(fresh: Site) -> None:
    fresh.archive.available = False
    answer = fresh.client.get(PATH)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
