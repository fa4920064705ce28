"""Any DICOMweb service as an archive."""

from app.archives.dicomweb.archive import DicomwebArchive
from app.archives.dicomweb.options import DicomwebOptions

__all__ = ["DicomwebArchive", "DicomwebOptions"]
