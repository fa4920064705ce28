"""Synthetic DICOM series with known truth, written to the standard from one formula.

Voxel `(k, j, i)` of every series lies at `origin + i * row * spacing_i + j * column * spacing_j + k * step` (LPS mm),
and `Truth` says so. Datasets come back shuffled: nothing may rely on the order in which files arrive.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)
from pydicom.valuerep import format_number_as_ds

from app.core.volume import Geometry

Orientation = Literal["axial", "sagittal", "coronal", "oblique"]
Modality = Literal["CT", "MR", "PT"]

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
"""Real images beside the checkout; tests that need them skip where they are absent."""

ENHANCED = {"CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage, "PT": EnhancedPETImageStorage}
SINGLE = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage}


@dataclass(frozen=True, eq=False)
class Truth:
    """What a reader must find: modality values `(k, j, i)` and the grid, k ascending along row x column."""

    voxels: NDArray[np.generic]
    geometry: Geometry


def uid(*parts: object) -> str:
    """A UID under 2.25 that depends on nothing but `parts`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:16]
    return f"2.25.{int.from_bytes(digest, 'big')}"


def axes(orientation: Orientation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column unit vectors (DICOM PS3.3 C.7.6.2.1.1)."""
    if orientation == "axial":
        return np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    if orientation == "sagittal":
        return np.array([0, 1.0, 0]), np.array([0, 0, -1.0])
    if orientation == "coronal":
        return np.array([1.0, 0, 0]), np.array([0, 0, -1.0])
    a, b, c = np.deg2rad([8.0, -12.0, 25.0])
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn = turn_z @ turn_y @ turn_x
    return turn[:, 0], turn[:, 1]


def grid(
    shape: tuple[int, int, int],
    orientation: Orientation = "axial",
    spacing: tuple[float, float, float] = (0.7, 0.8, 2.5),
    gantry_tilt: float = 0.0,
    origin: tuple[float, float, float] = (-120.5, -90.25, -300.0),
) -> Geometry:
    """The grid of a series; `spacing` is `(i, j, k)` mm. With `gantry_tilt` (degrees) the slices shift along the
    columns: the step between them is no longer along row x column."""
    row, column = axes(orientation)
    normal = np.cross(row, column)
    tilt = np.deg2rad(gantry_tilt)
    affine = np.eye(4)
    affine[:3, 0] = row * spacing[0]
    affine[:3, 1] = column * spacing[1]
    affine[:3, 2] = (np.cos(tilt) * normal + np.sin(tilt) * column) * spacing[2]
    affine[:3, 3] = origin
    return Geometry(shape, affine)


def phantom(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.int16]:
    """HU-like voxels that differ under every flip and transposition: blobs, gradients and noise, -1024..3071."""
    rng = np.random.default_rng(seed)
    k, j, i = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij", sparse=True)
    hu = np.where((i / 0.8) ** 2 + (j / 0.6) ** 2 <= 1, 40 + 30 * i + 20 * j + 10 * k, -1000).astype(np.float32)
    hu[np.broadcast_to((i + 0.3) ** 2 + j**2 + (k - 0.2) ** 2 <= 0.09, shape)] = 120
    hu[np.broadcast_to((i - 0.45) ** 2 + (j - 0.1) ** 2 + (k + 0.3) ** 2 <= 0.04, shape)] = 600
    hu += rng.standard_normal(shape, dtype=np.float32) * 12
    return np.clip(hu, -1024, 3071).astype(np.int16)


def ds(value: float) -> str:
    return format_number_as_ds(float(value))


def ct_series(
    shape: tuple[int, int, int] = (9, 20, 16),
    *,
    orientation: Orientation = "axial",
    spacing: tuple[float, float, float] = (0.7, 0.8, 2.5),
    reversed: bool = False,
    gantry_tilt: float = 0.0,
    signed: bool = False,
    missing: Sequence[int] = (),
    modality: Modality = "CT",
    transfer_syntax: str = ExplicitVRLittleEndian,
    seed: int = 0,
    patient: int = 0,
) -> tuple[list[Dataset], Truth]:
    """One instance per slice, shuffled.

    `reversed` numbers the instances against their positions. `missing` slices are left out of the datasets (the truth
    still has them). CT is stored as scanners do: 12 bits unsigned with intercept -1024, or `signed` 16 bits. MR has
    no rescale, PT a slope of its own per slice (then the truth is float32).
    """
    geometry = grid(shape, orientation, spacing, gantry_tilt)
    hu = phantom(shape, seed)
    series = uid("series", shape, orientation, spacing, reversed, gantry_tilt, modality, seed, patient)
    datasets: list[Dataset] = []
    values: list[NDArray[np.generic]] = []
    for k in range(shape[0]):
        dataset = _header(modality, SINGLE[modality], series, patient)
        dataset.SOPInstanceUID = uid("instance", series, k)
        dataset.InstanceNumber = shape[0] - k if reversed else k + 1
        position = geometry.affine[:3, 3] + geometry.affine[:3, 2] * k
        row, column = axes(orientation)
        dataset.ImagePositionPatient = [ds(v) for v in position]
        dataset.ImageOrientationPatient = [ds(v) for v in (*row, *column)]
        dataset.PixelSpacing = [ds(spacing[1]), ds(spacing[0])]
        dataset.SliceThickness = ds(spacing[2])
        slope, intercept = _pixels(dataset, hu[k], modality, signed, k)
        if modality != "MR":
            dataset.RescaleSlope, dataset.RescaleIntercept = ds(slope), ds(intercept)
        if modality == "CT":
            dataset.RescaleType = "HU"
        values.append(_truth(hu[k], modality, float(ds(slope)), signed))
        if k not in missing:
            datasets.append(_encoded(dataset, transfer_syntax))
    np.random.default_rng(seed).shuffle(datasets)  # type: ignore[arg-type]
    return datasets, Truth(np.stack(values), geometry)


def mr_series(shape: tuple[int, int, int] = (9, 20, 16), **options: object) -> tuple[list[Dataset], Truth]:
    """`ct_series` as MR: no rescale, unsigned 16 bits."""
    return ct_series(shape, modality="MR", **options)  # type: ignore[arg-type]


def pt_series(shape: tuple[int, int, int] = (9, 20, 16), **options: object) -> tuple[list[Dataset], Truth]:
    """`ct_series` as PT: BQML, a rescale slope per slice."""
    return ct_series(shape, modality="PT", **options)  # type: ignore[arg-type]


def enhanced_series(
    shape: tuple[int, int, int] = (9, 20, 16),
    *,
    orientation: Orientation = "axial",
    spacing: tuple[float, float, float] = (0.7, 0.8, 2.5),
    reversed: bool = False,
    modality: Modality = "CT",
    shared: bool = True,
    transfer_syntax: str = ExplicitVRLittleEndian,
    seed: int = 0,
    patient: int = 0,
) -> tuple[Dataset, Truth]:
    """One multi-frame instance (DICOM PS3.3 A.38, A.36, A.56). `reversed` stores frames against their positions;
    without `shared` every functional group is repeated per frame."""
    geometry = grid(shape, orientation, spacing)
    hu = phantom(shape, seed)
    order = list(range(shape[0]))[:: -1 if reversed else 1]
    series = uid("series", "enhanced", shape, orientation, spacing, reversed, modality, seed, patient)
    dataset = _header(modality, ENHANCED[modality], series, patient)
    dataset.SOPInstanceUID = uid("instance", series)
    dataset.InstanceNumber = 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.PixelPresentation = "MONOCHROME"
    dataset.VolumetricProperties = "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.ContentQualification = "RESEARCH"
    dataset.AcquisitionDateTime = "20240102101112"
    dataset.AcquisitionDuration = 1.0
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.NumberOfFrames = shape[0]
    _pixels(dataset, hu[order], modality, signed=False, k=0)
    common, frames = _functional_groups(geometry, orientation, spacing, order, modality)
    if not shared:
        for frame in frames:
            frame.update(common)
        common = Dataset()
    dataset.SharedFunctionalGroupsSequence = [common]
    dataset.PerFrameFunctionalGroupsSequence = frames
    organization = Dataset()
    organization.DimensionOrganizationUID = uid("dimension", series)
    dataset.DimensionOrganizationSequence = [organization]
    index = Dataset()
    index.DimensionOrganizationUID = organization.DimensionOrganizationUID
    index.DimensionIndexPointer = 0x00209057
    index.FunctionalGroupPointer = 0x00209111
    dataset.DimensionIndexSequence = [index]
    slope = 0.5 if modality == "PT" else 1.0
    return _encoded(dataset, transfer_syntax), Truth(_truth(hu, modality, slope), geometry)


def encode(dataset: Dataset) -> bytes:
    """The dataset as a Part 10 file."""
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def write_series(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write one file per dataset, named by a hash of the instance UID, so that names say nothing about order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        path = folder / f"{hashlib.sha256(dataset.SOPInstanceUID.encode()).hexdigest()[:12]}.dcm"
        path.write_bytes(encode(dataset))
        paths.append(path)
    return paths


def _header(modality: Modality, sop_class: str, series: str, patient: int) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class
    dataset.StudyInstanceUID = uid("study", patient)
    dataset.SeriesInstanceUID = series
    dataset.FrameOfReferenceUID = uid("frame of reference", patient)
    dataset.PatientID = f"PHANTOM-{patient:05d}"
    dataset.PatientName = f"Phantom^{patient:05d}"
    dataset.PatientBirthDate = "19700101"
    dataset.PatientSex = "O"
    for part in ("Study", "Series", "Acquisition", "Content"):
        setattr(dataset, f"{part}Date", "20240102")
        setattr(dataset, f"{part}Time", "101112")
    dataset.AccessionNumber = f"A{patient:07d}"
    dataset.StudyID = str(patient)
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Synthetic study"
    dataset.SeriesDescription = f"Synthetic {modality}"
    dataset.BodyPartExamined = "ABDOMEN"
    dataset.Modality = modality
    dataset.Manufacturer = "Synthetic"
    dataset.ManufacturerModelName = "synthetic.py"
    dataset.DeviceSerialNumber = "0"
    dataset.SoftwareVersions = "1"
    dataset.SeriesNumber = 1
    dataset.PositionReferenceIndicator = ""
    dataset.PatientPosition = "HFS"
    dataset.AcquisitionNumber = 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    if modality == "CT":
        dataset.KVP = "120"
    if modality == "MR":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "SE"]
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "SE", "SK", ""
        dataset.MRAcquisitionType, dataset.RepetitionTime, dataset.EchoTime = "2D", "500", "10"
        dataset.EchoTrainLength = 1
    if modality == "PT":
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
        dataset.Units = "BQML"
        dataset.DecayCorrection = "START"
    return dataset


def _pixels(dataset: Dataset, hu: NDArray[np.int16], modality: Modality, signed: bool, k: int) -> tuple[float, float]:
    """Fill the pixel module from HU-like values; returns rescale slope and intercept of slice `k`."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape[-2:]
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12 if modality == "CT" and not signed else 16
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(signed)
    dataset.WindowCenter, dataset.WindowWidth = "40", "400"
    stored = hu if signed else (hu.astype(np.int32) + 1024).astype(np.uint16)
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"
    if modality == "PT":
        return 0.5 + 0.01 * k, 0.0
    return 1.0, 0.0 if signed or modality == "MR" else -1024.0


def _truth(hu: NDArray[np.int16], modality: Modality, slope: float, signed: bool = False) -> NDArray[np.generic]:
    if modality == "CT":
        return hu
    stored = hu.astype(np.int32) + (0 if signed else 1024)
    return stored.astype(np.int16) if modality == "MR" else (stored * slope).astype(np.float32)


def _functional_groups(
    geometry: Geometry,
    orientation: Orientation,
    spacing: tuple[float, float, float],
    order: Sequence[int],
    modality: Modality,
) -> tuple[Dataset, list[Dataset]]:
    common = Dataset()
    measures = Dataset()
    measures.PixelSpacing = [ds(spacing[1]), ds(spacing[0])]
    measures.SliceThickness = ds(spacing[2])
    common.PixelMeasuresSequence = [measures]
    plane = Dataset()
    plane.ImageOrientationPatient = [ds(v) for axis in axes(orientation) for v in axis]
    common.PlaneOrientationSequence = [plane]
    if modality != "MR":
        transform = Dataset()
        transform.RescaleIntercept = "-1024" if modality == "CT" else "0"
        transform.RescaleSlope = "1" if modality == "CT" else "0.5"
        transform.RescaleType = "HU" if modality == "CT" else "US"
        common.PixelValueTransformationSequence = [transform]
    frames = []
    for number, k in enumerate(order, start=1):
        frame = Dataset()
        position = Dataset()
        position.ImagePositionPatient = [ds(v) for v in geometry.affine[:3, 3] + geometry.affine[:3, 2] * k]
        frame.PlanePositionSequence = [position]
        content = Dataset()
        content.StackID = "1"
        content.InStackPositionNumber = number
        content.DimensionIndexValues = [number]
        content.FrameAcquisitionNumber = 1
        frame.FrameContentSequence = [content]
        frames.append(frame)
    return common, frames


def _encoded(dataset: Dataset, transfer_syntax: str) -> Dataset:
    """Give the dataset its file meta information, and compress its pixels where the syntax asks for it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    if transfer_syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        if transfer_syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, np.uint16).byteswap().tobytes()
        meta.TransferSyntaxUID = transfer_syntax
    elif transfer_syntax != ExplicitVRLittleEndian:
        dataset.compress(transfer_syntax, generate_instance_uid=False)
    return dataset
