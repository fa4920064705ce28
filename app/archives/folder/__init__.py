"""A folder of DICOM and volume files as an archive."""

from app.archives.folder.archive import FolderArchive
from app.archives.folder.options import FolderOptions

__all__ = ["FolderArchive", "FolderOptions"]
