"""A real Orthanc that holds the series."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from app.archives.dicomweb import DicomwebArchive, DicomwebOptions
from app.core.case import Case
from bench.data import Plan, Series
from tests.orthanc import Orthanc


@contextmanager
def orthanc_with(plan: Plan, series: Series) -> Iterator[Orthanc]:
    """Raises `OrthancMissing` where it is not installed."""
    orthanc = Orthanc.start(plan.new_folder("orthanc"))
    try:
        orthanc.upload(series.files)
        yield orthanc
    finally:
        orthanc.stop()


@contextmanager
def opened(orthanc: Orthanc) -> Iterator[tuple[DicomwebArchive, Case]]:
    """Our archive over it, and its only case."""
    archive = DicomwebArchive(DicomwebOptions(url=orthanc.url))
    try:
        (case,) = archive.list(None).cases
        yield archive, case
    finally:
        archive.close()
