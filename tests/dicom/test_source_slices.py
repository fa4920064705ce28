"""Which instance is behind each slice."""

from __future__ import annotations

import numpy as np
import pytest

from app.dicom.planes import source_slices
from app.dicom.series import assemble
from tests.dicom.synthetic import ct_series, enhanced_series

SHAPE = (7, 5, 6)


@pytest.mark.parametrize("tilt", [0.0, 17.0])
@pytest.mark.parametrize("backwards", [False, True])
def test_every_slice_has_its_instance(tilt: float, backwards: bool) -> None:
    datasets, truth = ct_series(SHAPE, orientation="oblique", reversed=backwards, gantry_tilt=tilt)
    assembled = assemble(datasets)
    found = source_slices(assembled.headers, assembled.volume.geometry)
    by_uid = {str(d.SOPInstanceUID): [float(v) for v in d.ImagePositionPatient] for d in datasets}
    assert len(found) == SHAPE[0]
    assert not any(one.frames for one in found)
    for k, one in enumerate(found):
        np.testing.assert_allclose(one.position, truth.geometry.to_patient((k, 0, 0)), atol=1e-3)
        np.testing.assert_allclose(by_uid[one.sop_instance_uid], one.position, atol=1e-3)


def test_interpolated_slices_have_none() -> None:
    shape = (24, 5, 6)
    whole, _ = ct_series(shape)
    datasets, _ = ct_series(shape, missing=[2, 9])
    assembled = assemble(datasets, fill_gaps=True)
    found = source_slices(assembled.headers, assembled.volume.geometry)
    whole.sort(key=lambda d: float(d.ImagePositionPatient[2]))
    expected = ["" if k in (2, 9) else str(d.SOPInstanceUID) for k, d in enumerate(whole)]
    assert [one.sop_instance_uid for one in found] == expected


def test_a_multi_frame_instance_is_listed_once() -> None:
    dataset, truth = enhanced_series(SHAPE)
    assembled = assemble([dataset])
    (found,) = source_slices(assembled.headers, assembled.volume.geometry)
    assert (found.sop_instance_uid, found.frames) == (str(dataset.SOPInstanceUID), True)
    assert source_slices((), truth.geometry) == []
