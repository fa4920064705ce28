"""Series that are not one regular stack: repaired with a warning, or refused with a reason."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from app.dicom.series import assemble
from app.errors import UnusableSeries
from tests.dicom.synthetic import ct_series, ds, mr_series, uid


def moved(dataset, mm):
    """Shift a dataset along z."""
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, y, ds(float(z) + mm)]
    return dataset


def in_order(datasets):
    return sorted(datasets, key=lambda d: float(d.ImagePositionPatient[2]))


def test_localisers_are_left_out():
    datasets, truth = ct_series()
    other, _ = ct_series((2, 12, 16), orientation="coronal", seed=7)
    for dataset in other:
        dataset.SeriesInstanceUID = datasets[0].SeriesInstanceUID
    found = assemble([*other, *datasets])
    np.testing.assert_array_equal(found.volume.voxels, truth.voxels)
    assert found.volume.warnings[0].startswith("2 images of another orientation")
    assert len(found.headers) == len(datasets)


def test_no_majority_is_refused():
    parts = []
    for orientation in ("axial", "sagittal", "coronal"):
        datasets, _ = ct_series((3, 8, 8), orientation=orientation)
        parts += datasets
    for dataset in parts:
        dataset.SeriesInstanceUID = uid("localiser")
    with pytest.raises(UnusableSeries, match=r"3 different orientations.*\(3, 3, 3 images\).*split"):
        assemble(parts)


def test_exact_duplicates_are_left_out():
    datasets, truth = ct_series()
    again = copy.deepcopy(datasets[:2])
    again[1].SOPInstanceUID = uid("another")
    found = assemble([*datasets, *again])
    np.testing.assert_array_equal(found.volume.voxels, truth.voxels)
    assert found.volume.warnings == ("2 images that are exact duplicates of others were left out",)


def test_different_images_at_one_place_without_a_reason_are_refused():
    datasets, _ = ct_series()
    other = copy.deepcopy(datasets[0])
    other.SOPInstanceUID = uid("another")
    other.PixelData = bytes(len(other.PixelData))
    with pytest.raises(UnusableSeries, match="at 1 of 9 places lie different images"):
        assemble([*datasets, other])


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", ["10", "90"]),
        ("TemporalPositionIdentifier", [1, 2]),
        ("AcquisitionNumber", [9, 10]),
        ("TriggerTime", ["0", "33.5"]),
    ],
)
def test_interleaved_volumes_are_split(keyword, values):
    first, truth = mr_series(seed=1)
    second, _ = mr_series(seed=2)
    for datasets, value in ((first, values[0]), (second, values[1])):
        for dataset in datasets:
            dataset.SeriesInstanceUID = uid("interleaved")
            setattr(dataset, keyword, value)
    found = assemble([*second, *first])
    np.testing.assert_array_equal(found.volume.voxels, truth.voxels)
    assert f"2 volumes that differ in {keyword}" in found.volume.warnings[0]
    assert f"left out: {values[1]}" in found.volume.warnings[0]


def test_two_attributes_together_split_four_volumes():
    datasets, truth = [], None
    for echo in ("10", "20"):
        for time in (1, 2):
            part, expected = mr_series(seed=len(datasets))
            truth = truth or expected
            for dataset in part:
                dataset.SeriesInstanceUID = uid("interleaved")
                dataset.EchoTime, dataset.TemporalPositionIdentifier = echo, time
            datasets += part
    found = assemble(datasets)
    np.testing.assert_array_equal(found.volume.voxels, truth.voxels)
    assert "4 volumes that differ in EchoTime and TemporalPositionIdentifier" in found.volume.warnings[0]


def test_missing_slices_are_refused_by_name():
    datasets, _ = ct_series((12, 6, 6), missing=[3, 7])
    with pytest.raises(UnusableSeries, match=r"2 slices are missing \(1 after slice 3, 1 after slice 7\)"):
        assemble(datasets)


def test_missing_slices_are_interpolated_when_asked_for():
    datasets, truth = ct_series((12, 6, 6), missing=[3, 4])
    found = assemble(datasets, fill_gaps=True)
    assert truth.geometry.difference(found.volume.geometry) is None
    assert "2 slices are missing (2 after slice 3)" in found.volume.warnings[0]
    kept = [k for k in range(12) if k not in (3, 4)]
    np.testing.assert_array_equal(found.volume.voxels[kept], truth.voxels[kept])
    before, after = truth.voxels[2].astype(float), truth.voxels[5].astype(float)
    np.testing.assert_array_equal(found.volume.voxels[3], np.rint(before * 2 / 3 + after / 3))
    assert len(found.headers) == 10


def test_uneven_spacing_is_refused_by_name():
    datasets, _ = ct_series((8, 6, 6))
    moved(in_order(datasets)[-1], 0.8)
    with pytest.raises(UnusableSeries, match=r"unevenly spaced \(mm between neighbours: 2\.500, 3\.300\)"):
        assemble(datasets)


def test_two_spacings_are_uneven_not_incomplete():
    datasets, _ = ct_series((18, 6, 6), missing=[6, 8, 10, 12, 14, 16])
    with pytest.raises(UnusableSeries, match=r"unevenly spaced.*2\.500, 5\.000"):
        assemble(datasets, fill_gaps=True)


def test_rounded_positions_are_taken_with_a_warning():
    datasets, _ = ct_series((9, 6, 6), spacing=(0.7, 0.8, 0.625))
    for dataset in datasets:
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, f"{float(z):.2f}"]
    found = assemble(datasets).volume
    assert found.geometry.spacing[2] == pytest.approx(0.625, abs=2e-3)
    assert "off an even spacing" in found.warnings[0]


def test_images_side_by_side_are_refused():
    datasets, _ = ct_series((2, 6, 6))
    one, other = in_order(datasets)
    other.ImagePositionPatient = [one.ImagePositionPatient[0] + 50, *one.ImagePositionPatient[1:]]
    with pytest.raises(UnusableSeries, match="same plane"):
        assemble(datasets)


def test_a_single_slice_is_a_volume_as_thick_as_it_says():
    datasets, truth = ct_series((1, 6, 8))
    found = assemble(datasets).volume
    assert truth.geometry.difference(found.geometry) is None
    assert found.geometry.spacing[2] == pytest.approx(2.5)
    assert found.warnings == ("the series has a single slice",)
    del datasets[0].SliceThickness
    assert "1 mm was taken" in assemble(datasets).volume.warnings[0]


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient"])
@pytest.mark.parametrize("value", [None, [], ["1"]])
def test_images_without_a_place_are_refused(keyword, value):
    datasets, _ = ct_series((3, 6, 6))
    if value is None:
        del datasets[1][keyword]
    else:
        datasets[1][keyword].value = value
    with pytest.raises(UnusableSeries, match=keyword):
        assemble(datasets)


def test_an_orientation_that_is_none_is_refused():
    datasets, _ = ct_series((3, 6, 6))
    datasets[0].ImageOrientationPatient = ["1", "0", "0", "1", "0", "0"]
    with pytest.raises(UnusableSeries, match="perpendicular"):
        assemble(datasets)


def test_missing_pixel_spacing():
    datasets, truth = ct_series((3, 6, 6))
    for dataset in datasets:
        dataset.ImagerPixelSpacing = dataset.PixelSpacing
        del dataset.PixelSpacing
    found = assemble(datasets).volume
    assert truth.geometry.difference(found.geometry) is None
    assert "ImagerPixelSpacing was used" in found.warnings[0]
    for dataset in datasets:
        del dataset.ImagerPixelSpacing
    with pytest.raises(UnusableSeries, match="PixelSpacing"):
        assemble(datasets)


def test_the_order_of_arrival_never_matters():
    datasets, _ = ct_series(orientation="oblique")
    one, other = assemble(datasets), assemble(datasets[::-1])
    np.testing.assert_array_equal(one.volume.voxels, other.volume.voxels)
    assert [h.SOPInstanceUID for h in one.headers] == [h.SOPInstanceUID for h in other.headers]
