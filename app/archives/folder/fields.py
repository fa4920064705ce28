"""Which attributes of an instance the index keeps: what searches can ask for and what results hold."""

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
"""What results hold unasked (DICOM PS3.18 tables 10.6.3-3 to -5); a level's results hold those of the levels above."""

COMPUTED_FIELDS = (
    "ModalitiesInStudy",
    "NumberOfStudyRelatedSeries",
    "NumberOfStudyRelatedInstances",
    "NumberOfSeriesRelatedInstances",
    "AvailableTransferSyntaxUID",
)
"""In results, but in no file."""

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
