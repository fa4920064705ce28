from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from app.core.case import Case
from app.core.mask import Mask
from app.core.volume import Geometry
from app.project.preannotations import PreAnnotations

GRID = Geometry((2, 3, 4), np.eye(4))
CASE = Case("1.2.3", "series", "first")


def mask(value: int) -> Mask:
    return Mask.single(np.full(GRID.shape, value, np.uint8), ["liver", "left kidney"], GRID)


def test_a_mask_is_of_one_version_and_of_the_images_as_they_are(tmp_path: Path) -> None:
    kept = PreAnnotations(tmp_path)
    kept.put(CASE, "m", "7", mask(2))
    found = kept.get(CASE, "m", "7", GRID)
    assert found is not None
    assert (found.sha256, [segment.name for segment in found.segments]) == (mask(2).sha256, ["liver", "left kidney"])
    assert kept.get(CASE, "m", "8", GRID) is None
    assert kept.get(CASE, "n", "7", GRID) is None
    assert kept.get(replace(CASE, stamp="changed"), "m", "7", GRID) is None
    kept.put(CASE, "m", "7", mask(1))
    again = kept.get(CASE, "m", "7", GRID)
    assert again is not None
    assert again.sha256 == mask(1).sha256


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    kept = PreAnnotations(tmp_path)
    kept.put(CASE, "m", "7", mask(1))
    (file,) = (tmp_path / "m").iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert kept.get(CASE, "m", "7", GRID) is None


def test_what_is_not_needed_any_more_is_removed(tmp_path: Path) -> None:
    kept = PreAnnotations(tmp_path)
    kept.prune("m", "7", ["a"])
    for case_id, version in (("a", "6"), ("a", "7"), ("b", "7")):
        kept.put(replace(CASE, id=case_id), "m", version, mask(1))
    kept.prune("m", "7", ["a"])
    assert len(list((tmp_path / "m").iterdir())) == 1
    assert kept.get(replace(CASE, id="a"), "m", "7", GRID) is not None
