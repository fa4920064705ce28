"""Names of a label's structures: the project's, or a refusal that says which there are."""

from __future__ import annotations

import numpy as np
import pytest

from app.core.mask import Mask
from app.core.volume import Geometry
from app.errors import BadInput
from app.services.structure_names import StructureNames

GRID = Geometry((2, 2, 2), np.eye(4))
TWO = StructureNames(("liver", "left kidney"), ("liver", "left kidney", "Segment 9"))
ONE = StructureNames(("liver",), ("liver", "spleen"))


def mask(*names: str) -> Mask:
    return Mask.single(np.zeros(GRID.shape, np.uint8), list(names), GRID)


def named(names: StructureNames, *given: str, sent: list[str] | None = None) -> list[str]:
    return [segment.name for segment in names.of(mask(*given), sent).segments]


def test_the_projects_names_stay() -> None:
    assert named(TWO, "left kidney", "liver", "Segment 9") == ["left kidney", "liver", "Segment 9"]
    assert named(ONE, "spleen") == ["spleen"], "a label had it before"
    assert named(TWO) == []


@pytest.mark.parametrize("given", ["Segment 1", "Segment_1", "segment-1", "Label 1", "", " "])
def test_the_only_structure_needs_no_name(given: str) -> None:
    assert named(ONE, given) == ["liver"]
    with pytest.raises(BadInput, match=r"send its name\. This project's structures: liver, left kidney"):
        named(TWO, given)
    with pytest.raises(BadInput, match="send its name"):
        named(ONE, given, "liver")


def test_numbers_stand_for_the_names_that_were_sent_beside() -> None:
    sent = ["liver", "left kidney", "Segment_3"]
    assert named(TWO, "Segment_2", "Segment_1", sent=sent) == ["left kidney", "liver"]
    for given in ("Segment_3", "Segment_4", "Segment_0"):
        with pytest.raises(BadInput, match=f"meant by {given}"):
            named(TWO, given, sent=sent)


def test_a_structure_has_one_segment() -> None:
    with pytest.raises(BadInput, match=r"more than one segment is called liver: merge them, or rename one\. This proj"):
        named(TWO, "liver", "left kidney", "liver")
    with pytest.raises(BadInput, match="is called liver"):
        named(TWO, "Segment_1", "liver", sent=["liver"])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["livr"],
            "no structure 'livr'. Did you mean liver? This project's structures: liver, left kidney, Segment 9;",
        ),
        (["Liver", "Kidney_left", "x"], "no structures 'Liver', 'Kidney_left', 'x'. Did you mean liver"),
        (["zzz"], "no structure 'zzz'. This project's structures"),
        (["LEFT KIDNEY"], "Did you mean left kidney?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(given: list[str], told: str) -> None:
    with pytest.raises(BadInput) as refused:
        named(TWO, *given)
    assert told in str(refused.value)
    assert "labels.structures" in str(refused.value)


def test_a_structure_by_itself() -> None:
    assert (ONE.one(""), ONE.one("spleen"), TWO.one("liver")) == ("liver", "spleen", "liver")
    with pytest.raises(BadInput, match=r"which structure this is.*liver, left kidney"):
        TWO.one("")
    with pytest.raises(BadInput, match=r"Did you mean liver\?"):
        TWO.one("lvier")
