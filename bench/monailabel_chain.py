"""How MONAI Label 0.8.5 brings a series from a DICOMweb server to an image file.

The same calls as `dicom_web_download_series` and `dicom_to_nifti` in its `datastore/utils`, without its logging.
"""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk
from dicomweb_client import DICOMwebClient


def download_and_convert(url: str, study_uid: str, series_uid: str, folder: Path) -> Path:
    """Fetch a series, save each instance to `folder`, read them as a series, write it compressed."""
    instances = folder / "instances"
    instances.mkdir(parents=True)
    for instance in DICOMwebClient(url).retrieve_series(study_uid, series_uid):
        instance.save_as(str(instances / f"{instance.SOPInstanceUID}.dcm"))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(instances)))
    file = folder / "image.nii.gz"
    sitk.WriteImage(reader.Execute(), str(file))
    return file
