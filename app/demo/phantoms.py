"""Phantom studies on disk: one DICOM file per slice, and the ground truth in a separate folder.

The files are CT Image Storage to the standard (DICOM PS3.3 A.3; `dciodvfy` has nothing against them), marked as
phantoms in PatientID and Quality Control Image. The same patients and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from app.core.progress import Progress, ignore_progress
from app.core.volume import Geometry
from app.demo.anatomy import STRUCTURES, Anatomy
from app.demo.plan import Study, planned

STORED_ZERO = 1024
"""HU are stored as 12 bits unsigned, as scanners do, with -1024 as the rescale intercept."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The ground truth of a series: a labelmap `(k, j, i)` whose values are 1-based positions in `names`."""

    labelmap: NDArray[np.uint8]
    names: tuple[str, ...]
    geometry: Geometry

    def voxels_of(self, name: str) -> NDArray[np.bool_]:
        """The voxels of a structure, bool `(k, j, i)`. Raises `ValueError` for one that isn't in `names`."""
        return np.asarray(self.labelmap == self.names.index(name) + 1)


def write_studies(
    folder: Path, truth_folder: Path, patients: int = 8, seed: int = 1, progress: Progress = ignore_progress
) -> list[Study]:
    """Write the studies of `patients` patients below `folder`, and a `<SeriesInstanceUID>.npz` each to `truth_folder`.

    Complete studies are skipped, so that an interrupted call can be repeated.
    """
    studies = planned(patients, seed)
    truth_folder.mkdir(parents=True, exist_ok=True)
    for done, study in enumerate(studies):
        progress(done / len(studies), f"{study.patient_id}, {study.description}")
        if not _is_there(study, folder, truth_folder):
            _write_study(study, folder / study.folder_name, truth_folder)
    progress(1.0, f"{len(studies)} series")
    return studies


def scanned(study: Study) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """A study's HU and labelmap, `(k, j, i)` both."""
    anatomy = Anatomy.drawn(np.random.default_rng([study.seed, study.number]))
    rng = np.random.default_rng([study.seed, study.number, study.visit])
    return anatomy.scan(study.geometry, study.phase, study.noise, rng)


def read_truth(truth_folder: Path, series_uid: str) -> Truth | None:
    """The ground truth of a series; None for a series that is not a phantom of this folder."""
    file = next((one for one in truth_folder.glob("*.npz") if one.stem == series_uid), None)
    if file is None:
        return None
    with np.load(file, allow_pickle=False) as stored:
        labelmap, affine, names = stored["labelmap"], stored["affine"], stored["names"]
    return Truth(labelmap, tuple(str(name) for name in names), Geometry(labelmap.shape, affine))


def instances(study: Study, hu: NDArray[np.int16]) -> Iterator[Dataset]:
    """The study's instances in the order of their instance numbers."""
    count = study.geometry.shape[0]
    for number in range(1, count + 1):
        k = count - number if study.reversed else number - 1
        yield _instance(study, hu[k], k, number)


def _is_there(study: Study, folder: Path, truth_folder: Path) -> bool:
    files = list((folder / study.folder_name).glob("*.dcm"))
    return len(files) == study.geometry.shape[0] and (truth_folder / f"{study.series_uid}.npz").is_file()


def _write_study(study: Study, folder: Path, truth_folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    hu, labelmap = scanned(study)
    for dataset in instances(study, hu):
        dataset.save_as(folder / f"slice-{int(dataset.InstanceNumber):03d}.dcm", enforce_file_format=True)
    half_written = truth_folder / f".{study.series_uid}.npz"
    np.savez_compressed(
        half_written, labelmap=labelmap, affine=study.geometry.affine, names=np.array(STRUCTURES, dtype=np.str_)
    )
    half_written.rename(truth_folder / f"{study.series_uid}.npz")


def _instance(study: Study, hu: NDArray[np.int16], k: int, number: int) -> Dataset:
    dataset = Dataset()
    _describe(dataset, study)
    dataset.SOPInstanceUID = study.uid(f"instance {k}")
    dataset.InstanceNumber = number
    _place(dataset, study.geometry, k)
    _fill(dataset, hu)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID("2.25.302910847251946351820347718263540918274")
    meta.ImplementationVersionName = "SEGLOOP_PHANTOM"
    dataset.file_meta = meta
    return dataset


def _describe(dataset: Dataset, study: Study) -> None:
    """Set the patient, study, series and equipment modules, which all slices share."""
    date, time = ("20240715" if study.visit else "20240115"), f"{8 + study.number % 10:02d}3000"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    for what in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{what}Date", date)
        setattr(dataset, f"{what}Time", time)
    dataset.AccessionNumber = f"P{study.number:03d}{study.visit + 1}"
    dataset.Modality = "CT"
    dataset.Manufacturer = "segloop"
    dataset.ManufacturerModelName = "phantom"
    dataset.DeviceSerialNumber = "0"
    dataset.SoftwareVersions = "1"
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Phantom CT abdomen"
    dataset.SeriesDescription = study.description
    dataset.PatientName = f"Phantom^{study.number:03d}"
    dataset.PatientID = study.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.PatientPosition = "HFS"
    if study.phase != "non-contrast":
        dataset.ContrastBolusAgent = "none, this is a phantom"
        dataset.ContrastBolusRoute = "IV"
    dataset.BodyPartExamined = "ABDOMEN"
    dataset.KVP = "120"
    dataset.AcquisitionNumber = 1
    dataset.StudyInstanceUID = study.study_uid
    dataset.SeriesInstanceUID = study.series_uid
    dataset.StudyID = f"{study.number}-{study.visit + 1}"
    dataset.SeriesNumber = 1
    dataset.FrameOfReferenceUID = study.uid("frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.QualityControlImage = "YES"
    dataset.BurnedInAnnotation = "NO"


def _place(dataset: Dataset, geometry: Geometry, k: int) -> None:
    """Set the position of slice k (PS3.3 C.7.6.2)."""
    row, column = geometry.direction[:, 0], geometry.direction[:, 1]
    across, down, thickness = geometry.spacing
    dataset.ImagePositionPatient = [_number(v) for v in geometry.to_patient((k, 0, 0))]
    dataset.ImageOrientationPatient = [_number(v) for v in (*row, *column)]
    dataset.PixelSpacing = [_number(down), _number(across)]
    dataset.SliceThickness = _number(thickness)
    dataset.SpacingBetweenSlices = _number(thickness)


def _fill(dataset: Dataset, hu: NDArray[np.int16]) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = "60", "400"
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = str(-STORED_ZERO), "1", "HU"
    dataset.PixelData = (hu.astype("<i4") + STORED_ZERO).astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _number(value: float) -> str:
    """A decimal string of at most 16 characters (VR DS)."""
    return format_number_as_ds(round(float(value), 9) + 0.0)
