"""The images that both trees serve: small, made up, and awkward on purpose (no cubes; oblique, reversed, compressed,
with a slice missing, multi-frame)."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import JPEGLSLossless, RLELossless

from app.core.volume import Geometry
from tests.dialects.dicomweb.segmentations import painted, segmentation
from tests.dicom.synthetic import ct_series, encode, enhanced_series, grid, mr_series, phantom, write_series
from tests.models.onnx_files import saved, threshold
from tests.orthanc import Orthanc

SHAPE = (9, 20, 16)
SENT = (6, 11, 14)
"""Shape of images that viewers send, `(k, j, i)`."""

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Image:
    """A case: its DICOM instances if it is a series, and the grid that a reader finds."""

    geometry: Geometry
    instances: Sequence[Dataset] = ()

    @property
    def uid(self) -> str:
        return str(self.instances[0].SeriesInstanceUID)

    @property
    def path(self) -> str:
        """Of the series, in DICOMweb."""
        return f"/studies/{self.instances[0].StudyInstanceUID}/series/{self.uid}"

    def instance(self, number: int) -> str:
        """The path of an instance, by its place among the sorted UIDs."""
        return f"{self.path}/instances/{sorted(one.SOPInstanceUID for one in self.instances)[number]}"

    def label(self, seed: int = 0, values: int = 2, dtype: type[np.generic] = np.uint8) -> bytes:
        """A label map of this image as a compressed NIfTI file."""
        voxels = np.random.default_rng(seed).integers(0, values + 1, self.geometry.shape)
        return nifti(voxels.astype(dtype), self.geometry)


class Studies:
    """Everything that is served and sent, the same whenever it is made."""

    @cached_property
    def series(self) -> Mapping[str, Image]:
        """By a name of ours, each of a patient of its own."""
        made = {
            "oblique": ct_series(SHAPE, orientation="oblique", reversed=True, patient=1),
            "sagittal": mr_series(SHAPE, orientation="sagittal", patient=2),
            "compressed": ct_series((5, 12, 10), transfer_syntax=JPEGLSLossless, patient=3, seed=1),
            "tilted": ct_series((7, 12, 10), gantry_tilt=12.0, signed=True, patient=4, seed=2),
            "gap": ct_series((8, 12, 10), missing=(4,), patient=5, seed=3),
        }
        images = {name: Image(truth.geometry, datasets) for name, (datasets, truth) in made.items()}
        frames, truth = enhanced_series((6, 12, 10), transfer_syntax=RLELossless, reversed=True, patient=6, seed=4)
        return {**images, "enhanced": Image(truth.geometry, [frames])}

    @cached_property
    def volume(self) -> tuple[NDArray[np.int16], Geometry]:
        """A volume file on an oblique grid."""
        return phantom((8, 13, 11), seed=5), grid((8, 13, 11), "oblique", spacing=(0.9, 1.1, 3.0))

    @cached_property
    def sent(self) -> NDArray[np.int16]:
        """An image that a viewer sends, `(k, j, i)`."""
        return phantom(SENT, seed=6)

    @cached_property
    def newcomer(self) -> Dataset:
        """An instance of a series that isn't in the archive."""
        datasets, _ = ct_series((3, 8, 9), patient=7, seed=8)
        return min(datasets, key=lambda one: int(one.InstanceNumber))

    @cached_property
    def segmentations(self) -> tuple[bytes, bytes, bytes]:
        """As viewers store them: BINARY and LABELMAP of a case, and one of a series that isn't here."""
        oblique = self.series["oblique"]
        stranger, truth = ct_series((5, 8, 9), patient=8, seed=9)
        return (
            segmentation(oblique.instances, painted(SHAPE, 2, 1), ["liver", "spleen"], labelmap=False),
            segmentation(oblique.instances, painted(SHAPE, 2, 2), ["spleen", "liver"], labelmap=True),
            segmentation(stranger, painted(truth.geometry.shape, 1, 3), ["liver"], labelmap=False),
        )

    @cached_property
    def weights(self) -> tuple[bytes, bytes]:
        """Two model files of MONAI Label's deepgrow_2d, with random weights."""
        import torch
        from monai.networks.nets import BasicUNet

        files = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            network = BasicUNet(spatial_dims=2, in_channels=3, out_channels=1, features=(32, 64, 128, 256, 512, 32))
            stream = io.BytesIO()
            torch.save(network.state_dict(), stream)
            files.append(stream.getvalue())
        return files[0], files[1]

    @cached_property
    def uids(self) -> frozenset[str]:
        """Every UID in the images; any other was made by a server."""
        stored = [pydicom.dcmread(io.BytesIO(content)) for content in self.segmentations]
        instances = [one for image in self.series.values() for one in image.instances]
        found: set[str] = set()
        for instance in (*instances, *stored, self.newcomer):
            found |= {str(element.value) for element in instance.iterall() if element.VR == "UI"}
        return frozenset(found)

    def make(self) -> None:
        """Make everything now, for threads to share."""
        _ = self.uids, self.sent, self.volume, self.weights

    def write(self, folder: Path) -> None:
        """As a folder archive, with a file that is no image."""
        for name, image in self.series.items():
            write_series(image.instances, folder / name)
        (folder / "files").mkdir()
        (folder / "files" / "head 07.nii.gz").write_bytes(nifti(*self.volume))
        (folder / "files" / "damaged.nii").write_bytes(b"\x5c\x01\x00\x00 no more than a beginning")

    def upload(self, orthanc: Orthanc) -> None:
        """Into an Orthanc, one after the other, so that it lists them in one order."""
        for image in self.series.values():
            for instance in sorted(image.instances, key=lambda one: str(one.SOPInstanceUID)):
                orthanc.upload([encode(instance)])

    def write_models(self, folder: Path) -> None:
        """ONNX models for ITKIT: one that knows its window, one that doesn't, and a file that is none."""
        (folder / "sub").mkdir(parents=True)
        saved(threshold(0.5, (4, 6, 5)), folder / "spleen.onnx")
        window = {"window_level": "0", "window_width": "200"}
        saved(threshold(0.5, (4, 6, 5), metadata=window), folder / "sub" / "windowed.onnx")
        (folder / "broken.onnx").write_bytes(b"this is no model")


@contextmanager
def archive(kind: str, studies: Studies, folder: Path) -> Iterator[tuple[str, Orthanc | None]]:
    """The setting `studies` of a server: a folder of files, or an Orthanc. Raises `OrthancMissing`."""
    if kind == "folder":
        place = folder / "studies"
        place.mkdir(parents=True)
        studies.write(place)
        yield str(place), None
        return
    orthanc = Orthanc.start(folder / "orthanc")
    try:
        studies.upload(orthanc)
        yield orthanc.url, orthanc
    finally:
        orthanc.stop()


def nifti(voxels: NDArray[np.generic], geometry: Geometry) -> bytes:
    """A compressed NIfTI file of voxels `(k, j, i)`, whose geometry is in LPS."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(voxels.transpose()), _LPS_TO_RAS @ geometry.affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 1, mtime=0)


def npy(array: NDArray[np.generic]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
