"""The attributes that the index keeps of an instance: what searches can match, and what results return."""

from __future__ import annotations

STUDY_FIELDS = (
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyDescription",
    "StudyID",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "TimezoneOffsetFromUTC",
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
)
SERIES_FIELDS = (
    "SeriesInstanceUID",
    "Modality",
    "SeriesNumber",
    "SeriesDescription",
    "SeriesDate",
    "SeriesTime",
    "BodyPartExamined",
    "Manufacturer",
    "FrameOfReferenceUID",
    "NumberOfSeriesRelatedInstances",
)
INSTANCE_FIELDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "NumberOfFrames",
    "AvailableTransferSyntaxUID",
)
"""Attributes returned by default (DICOM PS3.18 tables 10.6.3-3 to -5), together with those of the levels above."""

COMPUTED_FIELDS = (
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
    "NumberOfSeriesRelatedInstances",
    "AvailableTransferSyntaxUID",
)
"""Attributes of results that no file has."""

OTHER_FIELDS = (
    "PatientAge",
    "PatientSpeciesDescription",
    "InstitutionName",
    "StationName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "OperatorsName",
    "PerformingPhysicianName",
    "ProtocolName",
    "Laterality",
    "PatientPosition",
    "ImageType",
    "AcquisitionNumber",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
    "ContentLabel",
    "ContentDescription",
    "ContentCreatorName",
    "SegmentationType",
    "EchoTime",
    "RepetitionTime",
    "SliceThickness",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "SequenceName",
    "Units",
)

SEARCHABLE_FIELDS = tuple(
    field
    for field in ("SpecificCharacterSet", *STUDY_FIELDS, *SERIES_FIELDS, *INSTANCE_FIELDS, *OTHER_FIELDS)
    if field not in COMPUTED_FIELDS
)
