"""A volume that came as one file, written as a CT series: real anatomy as DICOM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.dicom.synthetic import _encoded, _header, ds, uid


def ct_series_from(file: Path) -> list[Dataset]:
    """The CT slices of a volume file in HU, on its grid, clipped to what 12 bits hold."""
    image = sitk.ReadImage(str(file))
    hu = np.clip(np.rint(sitk.GetArrayFromImage(image)), -1024, 3071).astype(np.int16)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    series = uid("series", file.name)
    datasets = []
    for k, plane in enumerate(hu):
        dataset = _header("CT", CTImageStorage, series, patient=sum(file.name.encode()))
        dataset.SOPInstanceUID = uid("instance", series, k)
        dataset.InstanceNumber = k + 1
        dataset.ImagePositionPatient = [ds(v) for v in image.TransformIndexToPhysicalPoint((0, 0, k))]
        dataset.ImageOrientationPatient = [ds(v) for v in (*direction[:, 0], *direction[:, 1])]
        i, j, step = image.GetSpacing()
        dataset.PixelSpacing = [ds(j), ds(i)]
        dataset.SliceThickness = ds(step)
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", "-1024", "HU"
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = plane.shape
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation = 0
        dataset.PixelData = (plane.astype(np.int32) + 1024).astype("<u2").tobytes()
        datasets.append(_encoded(dataset, ExplicitVRLittleEndian))
    return datasets
