"""What a stored label says by itself, without the catalog."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.archives.label_store import LabelStore
from app.core.case import Case
from app.core.label import Label, Submission, states_of
from app.core.mask import Mask, Segment
from app.dicom.seg import SegOptions, write_seg
from app.dicom.series import Assembled, assemble
from app.durable import file_sha256
from app.errors import IntegrityError
from tests.dicom.synthetic import ct_series, uid

CASE = Case("1.2.3", "series", "1")
SUBMISSION = Submission(
    "Änne=Müller\\x" + "y" * 80, "OHIF", "checked, twice", "nninteractive", "nninteractive-7", "a\nb", {"a": 1}
)
LONG = "肝臓 \\ " + "left lobe " * 12


@pytest.fixture(scope="module")
def series() -> Assembled:
    return assemble(ct_series()[0])


def said(series: Assembled, *, empty: bool = False) -> Mask:
    labelmap = np.zeros(series.volume.geometry.shape, np.uint8)
    if not empty:
        labelmap[2, 3:6, 4:9], labelmap[3, 1, 1] = 1, 2
    segments = (
        Segment(1, LONG),
        Segment(2, "spleen", algorithm="AUTOMATIC", algorithm_name="net"),
        Segment(3, "aorta", algorithm="MANUAL"),
        Segment(4, "lung", algorithm="AUTOMATIC", algorithm_name="net"),
    )
    return Mask((labelmap,), segments, series.volume.geometry)


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("empty", [False, True])
def test_the_file_alone_tells_its_row(tmp_path: Path, series: Assembled, kind: str, empty: bool) -> None:
    store, mask = LabelStore(tmp_path, kind), said(series, empty=empty)  # type: ignore[arg-type]
    stored = store.write(CASE, SUBMISSION, 3, mask, series.headers)
    found = store.recorded(tmp_path / stored.path)
    assert found is not None
    assert (found.case_id, found.number, found.sop_instance_uid) == ("1.2.3", 3, stored.sop_instance_uid)
    assert found.submission == replace(SUBMISSION, info={})
    assert [(s.name, s.algorithm) for s in found.segments] == [(s.name, s.algorithm) for s in mask.segments]
    drawn = "absent" if empty else "segmented"
    expected = {LONG: drawn, "spleen": "not_examined" if empty else drawn, "aorta": "absent", "lung": "not_examined"}
    assert found.states == states_of(mask) == expected


def row(path: str, file: Path, mask: Mask) -> Label:
    fields = dict.fromkeys(("submitted_sha256", "sop_instance_uid", "author", "client", "model"), "")
    more = {"model_version": "", "comment": "", "created": None, "states": {}, "path": path}
    digest = file_sha256(file) if file.exists() else ""
    return Label(id=1, case_id="1", tag="final", number=1, sha256=digest, segments=mask.segments, **fields, **more)


def test_nobody_may_have_looked_for_what_is_empty_in_an_older_file(tmp_path: Path, series: Assembled) -> None:
    mask = said(series)
    write_seg(mask, series.headers, tmp_path / "old.dcm", SegOptions(uid("a"), uid("b")))
    store = LabelStore(tmp_path, "auto")
    assert store.recorded(tmp_path / "old.dcm") is None
    expected = {LONG: "segmented", "spleen": "segmented", "aorta": "not_examined", "lung": "not_examined"}
    assert store.states(row("old.dcm", tmp_path / "old.dcm", mask)) == expected


def test_states_of_a_volume_file(tmp_path: Path, series: Assembled) -> None:
    store, mask = LabelStore(tmp_path, "auto"), said(series)
    stored = store.write(Case("a", "file", "1"), SUBMISSION, 1, mask, ())
    expected = {LONG: "segmented", "spleen": "segmented", "aorta": "not_examined", "lung": "not_examined"}
    assert store.states(row(stored.path, tmp_path / stored.path, mask)) == expected


def test_a_lost_file_is_an_error(tmp_path: Path, series: Assembled) -> None:
    with pytest.raises(IntegrityError, match="damaged or lost"):
        LabelStore(tmp_path, "auto").states(row("gone.dcm", tmp_path / "gone.dcm", said(series)))
