"""DICOMweb for viewers: the archive's own, passed on, or this server's over a folder of DICOM files.

| module | holds |
| --- | --- |
| `proxy` | passing requests on to a DICOMweb archive, and its addresses turned into ours |
| `folder` | searching and reading a folder; what byte for byte is remembered between requests |
| `query` | what a search asks for |
| `incoming` | what viewers store: segmentations become labels, the rest goes to the archive |
"""

from __future__ import annotations

from app.core.archive import Archive, DicomwebUpstream
from app.services.dicomweb.folder import FolderDicomweb
from app.services.dicomweb.proxy import DicomwebProxy


def dicomweb_of(archive: Archive) -> FolderDicomweb | DicomwebProxy | None:
    """The archive's own, passed on; this server's, over the archive's files; None if it offers neither."""
    offered = archive.dicomweb()
    if offered is None:
        return None
    return DicomwebProxy(offered) if isinstance(offered, DicomwebUpstream) else FolderDicomweb(offered)
