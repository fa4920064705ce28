"""Labels beside the images, in folders that a person can browse.

<labels>/<tag>/<SeriesInstanceUID>/v0001.dcm      DICOM SEG of a series
<labels>/<tag>/<case>/v0001.nii.gz, .nrrd, .mha   labelmap of a volume file, in its format
<labels>/<tag>/<case>/v0001.dcm                   DICOM SEG of a volume file that is shown as a series
"""

from __future__ import annotations

import errno
import hashlib
import re
from pathlib import Path

from app.archives.folder.durable import put
from app.archives.folder.options import FolderOptions
from app.core.archive import Delivery
from app.dicom.parsing import parse
from app.errors import ArchiveUnavailable, BadFile, IntegrityError

GZIP = b"\x1f\x8b"
_NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]*")


def store_label(options: FolderOptions, delivery: Delivery) -> Path:
    """Write a label and read it back. Returns its path. Idempotent.

    Raises `BadFile`, `IntegrityError`, `Conflict`, and `ArchiveUnavailable` when the folder can't be written to.
    """
    data = delivery.file.read_bytes()
    if hashlib.sha256(data).hexdigest() != delivery.sha256:
        raise IntegrityError(f"label {delivery.tag} {delivery.number} of {delivery.case.id} has changed on disk")
    place = _place(options.labels, delivery, data)
    try:
        if delivery.seg is not None:
            put(delivery.seg.read_bytes(), place.with_name(f"v{delivery.number:04d}.dcm"))
        put(data, place)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):
            raise ArchiveUnavailable(
                f"labels can't be written to {options.labels} ({error.strerror}); make it writable, or set labels_dir"
                " to a folder that is",
                retry_after=60.0,
            ) from error
        raise ArchiveUnavailable(f"labels can't be written to {options.labels}: {error.strerror}") from error
    return place


def _place(labels: Path, delivery: Delivery, data: bytes) -> Path:
    for name in (delivery.tag, delivery.case.id):
        if not _NAME.fullmatch(name):
            raise BadFile(f"{name[:80]!r} can't be the name of a folder, so a label can't be stored under it")
    if delivery.case.kind == "series":
        if str(parse(data).get("SOPInstanceUID", "")) != delivery.sop_instance_uid:
            raise BadFile("the label's file is not the DICOM SEG that was recorded for it")
        ending = ".dcm"
    else:
        endings = ((GZIP, ".nii.gz"), (b"NRRD", ".nrrd"), (b"ObjectType", ".mha"))
        ending = next((ending for magic, ending in endings if data.startswith(magic)), ".nii")
    return labels / delivery.tag / delivery.case.id / f"v{delivery.number:04d}{ending}"
