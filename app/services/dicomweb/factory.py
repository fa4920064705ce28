"""Which DICOMweb service viewers get to see."""

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
