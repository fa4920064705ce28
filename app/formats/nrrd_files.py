"""Writing NRRD files: images, and segmentations of 3D Slicer (`.seg.nrrd`)."""

from __future__ import annotations

import gzip
from typing import BinaryIO

import numpy as np

from app.core.mask import Mask, Segment
from app.core.volume import Volume
from app.formats.nrrd import nrrd_header


def write_nrrd(file: BinaryIO, volume: Volume) -> None:
    """An image `(k, j, i)` as one gzip stream. Equal voxels make equal files. Raises `BadFile` (type of voxels)."""
    voxels = volume.voxels if volume.voxels.dtype != bool else volume.voxels.view(np.uint8)
    file.write(nrrd_header(volume.geometry, voxels.dtype, "gzip"))
    with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream:
        little = voxels.dtype.newbyteorder("<")
        for plane in voxels:
            stream.write(np.ascontiguousarray(plane, little).data)


def write_seg_nrrd(file: BinaryIO, mask: Mask) -> None:
    """A segmentation as 3D Slicer writes it
    (https://slicer.readthedocs.io/en/latest/user_guide/modules/segmentations.html): segments that overlap are in
    different layers, and one without voxels is described. Equal masks make equal files."""
    dtype = np.dtype(np.uint8 if len(mask.segments) < 256 else np.uint16)
    layers = [layer.astype(dtype, copy=False) for layer in mask.layers]
    file.write(nrrd_header(mask.geometry, dtype, "gzip", layers=len(layers), pairs=_pairs(mask)))
    with gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as stream:
        little = dtype.newbyteorder("<")
        for k in range(mask.geometry.shape[0]):
            planes = [layer[k] for layer in layers]
            stream.write(np.ascontiguousarray(np.stack(planes, axis=-1), little).data)


def _pairs(mask: Mask) -> dict[str, str]:
    k, j, i = (n - 1 for n in mask.geometry.shape)
    pairs = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for segment in mask.segments:
        # Slicer counts from 0, and a segment's value is its own number here.
        n = f"Segment{segment.number - 1}"
        pairs[f"{n}_ID"] = f"Segment_{segment.number}"
        pairs[f"{n}_Name"] = segment.name
        pairs[f"{n}_LabelValue"] = str(segment.number)
        pairs[f"{n}_Layer"] = str(segment.layer)
        pairs[f"{n}_Extent"] = f"0 {i} 0 {j} 0 {k}"
        if segment.color:
            pairs[f"{n}_Color"] = " ".join(f"{part / 255:.6g}" for part in segment.color)
        if segment.category and segment.type:
            pairs[f"{n}_Tags"] = _terms(segment)
    return pairs


def _terms(segment: Segment) -> str:
    codes = (segment.category, segment.type)
    said = "~".join(f"{code.scheme}^{code.value}^{code.meaning}" for code in codes if code)
    return f"TerminologyEntry:Segmentation category and type~{said}~^^~Anatomic codes~^^~^^|"
