"""DICOMweb for viewers: a proxy to the archive's own service, or this server's over a folder of DICOM files.

| module | holds |
| --- | --- |
| `proxy` | forwarding requests to a DICOMweb archive, and rewriting its URLs |
| `folder` | searching and reading a folder: |
| `files` | its DICOM files, with caches in memory |
| `volumes` | its volume files, shown as series |
| `query` | the parameters of a search |
| `incoming` | objects that viewers store: segmentations become labels, others go to the archive |
"""

from __future__ import annotations

from collections.abc import Callable

from app.core.archive import Archive, DicomwebUpstream
from app.core.case import Case
from app.core.volume import Volume
from app.services.dicomweb.folder import FolderDicomweb
from app.services.dicomweb.proxy import DicomwebProxy


def dicomweb_of(archive: Archive, read: Callable[[Case], Volume]) -> FolderDicomweb | DicomwebProxy | None:
    """A proxy to the archive's own service, or a service over the archive's files; None if it offers neither. `read`
    gives the voxels of a volume file."""
    offered = archive.dicomweb()
    if offered is None:
        return None
    return DicomwebProxy(offered) if isinstance(offered, DicomwebUpstream) else FolderDicomweb(offered, read)
