"""The next case is one that the asking viewer can show, and skipping goes through all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.core.case import Shows
from app.core.label import Submission
from app.core.mask import Mask
from app.services import Services
from app.settings import Settings
from tests.dicom.synthetic import ct_series, grid, phantom, write_series
from tests.volumes import grids, write_volume

SHAPE = (4, 8, 6)
VOLUMES = {"a", "b", "c"}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    studies = tmp_path / "studies"
    for seed, name in enumerate(sorted(VOLUMES)):
        write_volume(studies / f"{name}.nii.gz", phantom(SHAPE, seed), grids(SHAPE)["ras"])
    write_volume(studies / "tilted.nrrd", phantom(SHAPE), grid(SHAPE, gantry_tilt=12))
    write_series(ct_series(SHAPE)[0], studies / "series")
    values = {"studies": str(studies), "workspace": tmp_path / "workspace", "device": "cpu", "models": {}}
    one = Services.open(Settings(**values))
    one.sync.run()
    yield one
    one.project.close()


def offered(services: Services, shows: Shows, skips: int, who: str = "Ada") -> list[str]:
    """The kinds or ids of the cases that are offered, each skipped at once."""
    found = []
    for _ in range(skips):
        offer = services.next_case.next("random", who, {}, shows)
        assert offer is not None
        case = offer.row.case
        found.append("series" if case.kind == "series" else case.id)
        services.next_case.skip(case.id, who)
    return found


def test_each_viewer_is_offered_what_it_shows(services: Services) -> None:
    assert set(offered(services, "everything", 5, "Slicer")) == {*VOLUMES, "tilted", "series"}
    assert set(offered(services, "dicomweb", 5, "OHIF")) == {*VOLUMES, "series"}
    assert set(offered(services, "series", 2, "MONAI")) == {"series"}


def test_skip_goes_through_all_and_begins_again(services: Services) -> None:
    first = offered(services, "dicomweb", 4)
    assert set(first) == {*VOLUMES, "series"}
    assert offered(services, "dicomweb", 8) == first * 2


def test_a_case_that_is_held_in_another_viewer_is_in_nobodys_way(services: Services) -> None:
    while (held := services.next_case.next("random", "Ada", {})).row.case.id != "tilted":
        services.next_case.skip(held.row.case.id, "Ada")
    offer = services.next_case.next("random", "Ada", {}, "dicomweb")
    assert offer.row.case.id != "tilted"
    assert {claim.case_id for claim in services.next_case.held()} == {"tilted", offer.row.case.id}
    again = services.next_case.next("random", "Ada", {}, "dicomweb")
    assert again.row.case.id == offer.row.case.id


def test_nothing_is_offered_when_only_others_are_left(services: Services) -> None:
    for row in services.cases.all():
        if row.case.id != "tilted":
            geometry = services.cases.volume(row.case.id).geometry
            mask = Mask.single(np.ones(geometry.shape, np.uint8), ["structure"], geometry)
            services.labels.submit_mask(row.case.id, mask, Submission("Ada", "test"))
    assert services.next_case.next("random", "Bo", {}, "dicomweb") is None
    assert services.next_case.next("random", "Bo", {}).row.case.id == "tilted"
