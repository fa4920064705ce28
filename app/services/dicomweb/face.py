"""Which DICOMweb service viewers get to see."""

from __future__ import annotations

from app.archives.folder import FolderArchive
from app.learning.rooms import Rooms
from app.services.dicomweb.folder import FolderDicomweb
from app.services.dicomweb.proxy import DicomwebProxy


def face_of(rooms: Rooms) -> FolderDicomweb | DicomwebProxy | None:
    """This server's own over a folder, the archive's passed on, or None for an archive in memory."""
    if isinstance(rooms.archive, FolderArchive):
        return FolderDicomweb(rooms.archive.client)
    url = rooms.settings.studies_url
    return DicomwebProxy(rooms.settings, url) if url is not None else None
