"""Model versions: immutable, and one pointer per model."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from app.catalog import Catalog
from app.core.model import ModelVersion
from app.errors import Conflict, UnknownModel

ONE = ModelVersion(
    id="segmentation-1",
    model="segmentation",
    number=1,
    parent="",
    folder="segmentation/1",
    sha256="aa",
    state="published",
    reason="the first",
    metrics={"dice": 0.5},
    label_ids=[1, 2],
    licence="",
    job_id="j1",
    created=time.time(),
)
TWO = replace(ONE, id="segmentation-2", number=2, folder="segmentation/2", job_id="j2", created=ONE.created + 1)


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path / "catalog.sqlite")


def test_pointer_moves_only_when_asked(catalog: Catalog) -> None:
    assert catalog.versions.served("segmentation") is None
    catalog.versions.add(ONE, serve=True, who="gate")
    catalog.versions.add(replace(TWO, state="rejected"), serve=False, who="gate")
    assert catalog.versions.served("segmentation") == ONE
    catalog.versions.serve("segmentation-2", "operator")
    assert catalog.versions.served("segmentation") == replace(TWO, state="rejected")
    assert [v.number for v in catalog.versions.listed("segmentation")] == [2, 1]


def test_numbers_are_never_reused(catalog: Catalog) -> None:
    catalog.versions.add(ONE, serve=False, who="gate")
    assert catalog.versions.next_number("segmentation") == 2
    with pytest.raises(Conflict):
        catalog.versions.add(ONE, serve=True, who="gate")
    assert catalog.versions.served("segmentation") is None


def test_unknown_version_can_not_be_served(catalog: Catalog) -> None:
    with pytest.raises(UnknownModel):
        catalog.versions.serve("segmentation-9", "operator")
