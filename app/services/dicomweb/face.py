"""Which DICOMweb service viewers get to see."""

from __future__ import annotations

from app.archives.folder import FolderArchive
from app.project.project import Project
from app.services.dicomweb.folder import FolderDicomweb
from app.services.dicomweb.proxy import DicomwebProxy


def face_of(project: Project) -> FolderDicomweb | DicomwebProxy | None:
    """This server's own over a folder, the archive's passed on, or None for an archive in memory."""
    if isinstance(project.archive, FolderArchive):
        return FolderDicomweb(project.archive.client)
    url = project.settings.studies_url
    return DicomwebProxy(project.settings, url) if url is not None else None
