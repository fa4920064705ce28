"""dicomweb-client's every search, retrieve and store call, on this server and on Orthanc, over the same data: the
answers must be the same but for what `docs/dicomweb.md` lists."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import Dataset
from requests import HTTPError

from app.dicom.parsing import parse
from tests import orthanc
from tests.dialects.dicomweb.site import series, serving, write
from tests.dicom.synthetic import ct_series, encode, uid

ADDRESSES = ("00081190",)
NOT_IN_ORTHANC = ("00080005", "00080056", "00083002")
"""The character set (each says its own), InstanceAvailability and AvailableTransferSyntaxUID."""

STUDY = {"00080020", "00080030", "00080050", "00080061", "00080090", "00100010", "00100020", "00100030", "00100040"}
STUDY |= {"0020000D", "00200010", "00201206", "00201208"}
SERIES = {"00080060", "0008103E", "0020000D", "0020000E", "00200011", "00201209"}
INSTANCE = {"00080016", "00080018", "0020000D", "0020000E", "00200013", "00280010", "00280011", "00280100"}
"""What PS3.18 tables 10.6.3-3 to -5 require, and both have."""

EXPLICIT = ("application/octet-stream", "1.2.840.10008.1.2.1")
"""What this Orthanc has to be asked for frames with."""

SYNTAXES = {"oblique": "1.2.840.10008.1.2.1", "rle": "1.2.840.10008.1.2.5", "jpeg-ls": "1.2.840.10008.1.2.4.80"}


@dataclass(frozen=True)
class Sites:
    ours: DICOMwebClient
    theirs: DICOMwebClient
    kinds: dict[str, list[Dataset]]

    def both(self) -> tuple[DICOMwebClient, DICOMwebClient]:
        return self.ours, self.theirs


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    if orthanc.missing():
        pytest.skip(orthanc.missing())
    folder: Path = tmp_path_factory.mktemp("both")
    kinds = series()
    write(kinds, folder / "studies")
    other = orthanc.Orthanc.start(folder / "orthanc")
    for datasets in kinds.values():
        other.upload(datasets)
    with serving(folder, folder / "studies") as site:
        yield Sites(DICOMwebClient(site.url), DICOMwebClient(other.url), kinds)
    other.stop()


pytestmark = pytest.mark.orthanc


def normal(entries: list[dict[str, Any]], tags: set[str] | None = None) -> list[dict[str, Any]]:
    """Entries in an order of their own, without addresses and empty elements, and only `tags`."""
    cleaned = []
    for entry in entries:
        kept = {t: e for t, e in entry.items() if t not in (*ADDRESSES, *NOT_IN_ORTHANC) and (not tags or t in tags)}
        cleaned.append({t: _value(e) for t, e in kept.items() if e.get("Value")})
    return sorted(cleaned, key=str)


def _value(element: dict[str, Any]) -> Any:
    values = [tuple(sorted(v.items())) if isinstance(v, dict) else v for v in element["Value"]]
    return element["vr"], values


def uids_of(dataset: Dataset) -> tuple[str, str, str]:
    return str(dataset.StudyInstanceUID), str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)


SEARCHES: list[dict[str, Any]] = [
    {},
    {"search_filters": {"PatientID": "PHANTOM-00002"}},
    {"search_filters": {"PatientID": "NOBODY"}},
    {"search_filters": {"StudyDate": "20240101-20240103"}},
    {"search_filters": {"StudyDate": "20240103-"}},
    {"search_filters": {"StudyDate": "-20240102"}},
    {"search_filters": {"00080020": "20240102"}},
    {"search_filters": {"StudyInstanceUID": uid("study", 1)}},
    {"search_filters": {"AccessionNumber": "a0000001", "PatientSex": "O"}},
    {"fields": ["StudyDescription"]},
    {"fields": ["00081030", "00080070"]},
]
FOUND_NOTHING = ("NOBODY", "20240103-'")

RAW_SEARCHES = [
    ("studies", "PatientName=phantom*", 8),
    ("studies", "PatientName=*00001", 1),
    ("studies", "PatientID=phantom-0000?", 8),
    ("studies", "StudyDescription=synthetic*&AccessionNumber=a*", 8),
    ("studies", "ModalitiesInStudy=MR,CT", 8),
    ("studies", f"StudyInstanceUID={uid('study', 1)},{uid('study', 7)}", 2),
    ("studies", "PatientName=phantom*&fuzzymatching=true&limit=3", 3),
    ("series", "SeriesDescription=*ct", 7),
    ("series", "0008103E=synthetic*&00080060=MR", 1),
    ("instances", f"SeriesDescription=*mr&StudyInstanceUID={uid('study', 2)}", 6),
]
"""dicomweb-client writes these with percent signs, which this Orthanc doesn't undo; so they are asked for raw."""


@pytest.mark.parametrize("options", SEARCHES, ids=str)
def test_searches_find_the_same(sites: Sites, options: dict[str, Any]) -> None:
    asked = set()
    if "fields" in options:
        asked = {"00081030"}
    for level, tags in (("studies", STUDY), ("series", SERIES), ("instances", INSTANCE)):
        ours, theirs = (getattr(client, f"search_for_{level}")(**options) for client in sites.both())
        assert normal(ours, tags | asked) == normal(theirs, tags | asked)
        assert bool(ours) != any(nothing in str(options) for nothing in FOUND_NOTHING)


@pytest.mark.parametrize(("level", "query", "count"), RAW_SEARCHES)
def test_wildcards_and_lists_find_the_same(sites: Sites, level: str, query: str, count: int) -> None:
    tags = {"studies": STUDY, "series": SERIES, "instances": INSTANCE}[level]
    ours, theirs = (requests.get(f"{c.base_url}/{level}?{query}", timeout=30).json() for c in sites.both())
    assert len(ours) == count
    if "limit" in query:  # each has an order of its own
        assert len(theirs) == count
    else:
        assert normal(ours, tags) == normal(theirs, tags)


def test_names_match_with_what_addresses_quote(sites: Sites) -> None:
    for wanted, count in (("Phantom^00001", 1), ("phantom^0000?", 8), ("Phantom^0000*", 8), ("NOBODY^*", 0)):
        assert len(sites.ours.search_for_studies(search_filters={"PatientName": wanted})) == count
    assert len(sites.ours.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "00004 phan"})) == 1


@pytest.mark.parametrize(
    "filters",
    [{"Modality": "MR"}, {"00080060": "CT"}, {"SeriesInstanceUID": uid("nothing")}],
    ids=str,
)
def test_series_and_instances_are_filtered_alike(sites: Sites, filters: dict[str, str]) -> None:
    ours, theirs = (client.search_for_series(search_filters=filters) for client in sites.both())
    assert normal(ours, SERIES) == normal(theirs, SERIES)
    ours, theirs = (client.search_for_instances(search_filters=filters) for client in sites.both())
    assert normal(ours, INSTANCE) == normal(theirs, INSTANCE)


def test_modalities_in_study(sites: Sites) -> None:
    ours, theirs = (client.search_for_studies(search_filters={"ModalitiesInStudy": "MR"}) for client in sites.both())
    assert len(ours) == 1
    assert normal(ours, STUDY) == normal(theirs, STUDY)


def test_searches_below_a_study_and_a_series(sites: Sites) -> None:
    study, series_uid, _ = uids_of(sites.kinds["oblique"][0])
    for arguments in ((study,), (study, series_uid)):
        ours, theirs = (client.search_for_instances(*arguments) for client in sites.both())
        assert len(ours) == 6
        assert normal(ours, INSTANCE) == normal(theirs, INSTANCE)
    ours, theirs = (client.search_for_series(study) for client in sites.both())
    assert normal(ours, SERIES) == normal(theirs, SERIES)
    assert sites.ours.search_for_series(uid("nothing")) == sites.theirs.search_for_series(uid("nothing")) == []


def test_pages_together_are_everything(sites: Sites) -> None:
    for client in sites.both():
        pages = [client.search_for_studies(limit=3, offset=offset) for offset in (0, 3, 6, 9)]
        assert [len(page) for page in pages] == [3, 3, 2, 0]
        assert normal([entry for page in pages for entry in page]) == normal(client.search_for_studies())


def test_metadata_is_the_same(sites: Sites) -> None:
    for name, datasets in sites.kinds.items():
        study, series_uid, sop = uids_of(datasets[0])
        ours, theirs = (client.retrieve_series_metadata(study, series_uid) for client in sites.both())
        assert len(ours) == len(datasets), name
        assert _headers(ours) == _headers(theirs), name
        ours, theirs = (client.retrieve_study_metadata(study) for client in sites.both())
        assert _headers(ours) == _headers(theirs)
        one, other = (client.retrieve_instance_metadata(study, series_uid, sop) for client in sites.both())
        assert _headers([one]) == _headers([other])


def _headers(entries: list[dict[str, Any]]) -> list[Any]:
    """All elements but the pixels', whose VR and address are each service's own. Orthanc leaves out empty elements'
    VR and says whole numbers as integers; pydicom makes both the same."""
    datasets = []
    for entry in entries:
        kept = {t: e for t, e in entry.items() if t not in (*NOT_IN_ORTHANC, "7FE00010")}
        datasets.append(Dataset.from_json(kept))
    return sorted(datasets, key=lambda dataset: str(dataset.SOPInstanceUID))


def test_whole_instances_are_the_same(sites: Sites) -> None:
    for name, datasets in sites.kinds.items():
        study, series_uid, sop = uids_of(datasets[0])
        for client in sites.both():
            found = client.retrieve_series(study, series_uid)
            by_uid = {str(dataset.SOPInstanceUID): dataset for dataset in found}
            assert len(by_uid) == len(datasets), name
            for dataset in datasets:
                one = by_uid[str(dataset.SOPInstanceUID)]
                assert one.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1", name
                np.testing.assert_array_equal(one.pixel_array, dataset.pixel_array)
            assert {str(d.SOPInstanceUID) for d in client.retrieve_study(study)} == set(by_uid)
            assert {str(d.SOPInstanceUID) for d in client.iter_series(study, series_uid)} == set(by_uid)
            assert client.retrieve_instance(study, series_uid, sop).SOPInstanceUID == sop
            stored = client.retrieve_instance(study, series_uid, sop, media_types=(("application/dicom", "*"),))
            assert stored.file_meta.TransferSyntaxUID == datasets[0].file_meta.TransferSyntaxUID


def test_frames_are_the_same(sites: Sites) -> None:
    for name, datasets in sites.kinds.items():
        dataset = datasets[0]
        count = int(dataset.get("NumberOfFrames", 1))
        numbers = [1, *range(count, 1, -2)]
        pixels = dataset.pixel_array.reshape(count, *dataset.pixel_array.shape[-2:]).astype("<u2")
        for client in sites.both():
            frames = client.retrieve_instance_frames(*uids_of(dataset), numbers, media_types=(EXPLICIT,))
            assert frames == [pixels[number - 1].tobytes() for number in numbers], name
            assert list(client.iter_instance_frames(*uids_of(dataset), [1], media_types=(EXPLICIT,))) == frames[:1]
        assert sites.ours.retrieve_instance_frames(*uids_of(dataset), numbers) == frames


@pytest.mark.parametrize(("name", "kind"), [("rle", "image/dicom-rle"), ("jpeg-ls", "image/jls")])
def test_compressed_frames_come_as_stored(sites: Sites, name: str, kind: str) -> None:
    from pydicom.encaps import generate_frames

    dataset = sites.kinds[name][0]
    (stored,) = generate_frames(dataset.PixelData, number_of_frames=1)
    asked = [(client, (kind, SYNTAXES[name])) for client in sites.both()] + [(sites.ours, ("*/*", "*"))]
    for client, media_type in asked:
        (frame,) = client.retrieve_instance_frames(*uids_of(dataset), [1], media_types=(media_type,))
        assert frame.rstrip(b"\0") == stored.rstrip(b"\0")


def test_pictures_show_the_same(sites: Sites) -> None:
    dataset = sites.kinds["oblique"][0]
    pictures = []
    study, series_uid, sop = uids_of(dataset)
    for client in sites.both():
        for path in ("rendered", "frames/1/rendered"):
            url = f"{client.base_url}/studies/{study}/series/{series_uid}/instances/{sop}/{path}?window=40,400,linear"
            answer = requests.get(url, headers={"Accept": "image/png"}, timeout=30)
            assert answer.headers["Content-Type"] == "image/png"
            pictures.append(np.asarray(Image.open(io.BytesIO(answer.content)).convert("L"), np.int16))
    for kind, call in (("image/png", "retrieve_instance_rendered"), ("image/jpeg", "retrieve_series_rendered")):
        arguments = (study, series_uid, sop) if "instance" in call else (study, series_uid)
        content = getattr(sites.ours, call)(*arguments, media_types=(kind,))
        assert Image.open(io.BytesIO(content)).size == (16, 20)
    for picture in pictures[1:]:
        # Orthanc's window isn't rounded as the standard has it.
        assert int(np.abs(picture - pictures[0]).max()) <= 2


def test_bulk_data_is_found_where_the_metadata_says(sites: Sites) -> None:
    dataset = sites.kinds["oblique"][0]
    metadata = sites.ours.retrieve_instance_metadata(*uids_of(dataset))
    assert b"".join(sites.ours.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])) == dataset.PixelData


def test_storing(sites: Sites) -> None:
    datasets = [parse(encode(dataset)) for dataset in ct_series((2, 8, 8), patient=20)[0]]
    for client in sites.both():
        for _ in range(2):  # again is harmless
            answer = client.store_instances(datasets)
            stored = {str(item.ReferencedSOPInstanceUID) for item in answer.ReferencedSOPSequence}
            assert stored == {str(dataset.SOPInstanceUID) for dataset in datasets}
            assert not answer.get("FailedSOPSequence")
        found = client.retrieve_series(*uids_of(datasets[0])[:2])
        assert {str(dataset.SOPInstanceUID) for dataset in found} == stored
        with pytest.raises(HTTPError) as refused:
            client.store_instances(datasets, study_instance_uid=uid("other study"))
        assert refused.value.response.status_code == 409
        failed = Dataset.from_json(refused.value.response.json()).FailedSOPSequence
        assert [item.FailureReason for item in failed] == [0x0110, 0x0110]


def test_files_without_a_preamble_are_taken(sites: Sites) -> None:
    (made,), _ = ct_series((1, 8, 8), patient=21)
    sites.ours.store_instances([made])  # made in memory: pydicom writes no preamble
    np.testing.assert_array_equal(sites.ours.retrieve_instance(*uids_of(made)).pixel_array, made.pixel_array)


def test_what_is_not_there(sites: Sites) -> None:
    study, series_uid, sop = uids_of(sites.kinds["oblique"][0])
    nothing = uid("nothing")
    for client in sites.both():
        for call, arguments in (
            ("retrieve_series_metadata", (study, nothing)),
            ("retrieve_instance_metadata", (study, series_uid, nothing)),
            ("retrieve_instance", (nothing, series_uid, sop)),
            ("retrieve_instance_frames", (study, series_uid, nothing, [1])),
        ):
            with pytest.raises(HTTPError) as missing:
                getattr(client, call)(*arguments, **({"media_types": (EXPLICIT,)} if "frames" in call else {}))
            assert missing.value.response.status_code == 404, call
        with pytest.raises(HTTPError) as outside:
            client.retrieve_instance_frames(study, series_uid, sop, [2], media_types=(EXPLICIT,))
        assert outside.value.response.status_code == 400
