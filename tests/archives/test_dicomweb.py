"""The DICOMweb archive against a service that misbehaves."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from app.archives.dicomweb import DicomwebArchive, DicomwebOptions
from app.archives.dicomweb.qido import read_pages
from app.core.archive import Delivery
from app.core.case import Case
from app.core.progress import ignore_progress
from app.dicom.parsing import parse
from app.errors import (
    ArchiveUnavailable,
    BadFile,
    Cancelled,
    ConfigurationError,
    Conflict,
    NotSupported,
    UnknownCase,
)
from tests.archives.fake_dicomweb import Answer, FakeDicomweb, Request, json_answer, multipart, serving, stored
from tests.dicom.synthetic import Truth, ct_series, encode, mr_series, uid
from tests.orthanc import free_port

Connect = Callable[..., DicomwebArchive]


@pytest.fixture
def fake() -> Iterator[FakeDicomweb]:
    with serving(FakeDicomweb()) as running:
        yield running


@pytest.fixture
def connect(fake: FakeDicomweb) -> Iterator[Connect]:
    with ExitStack() as open_archives:

        def make(**options: object) -> DicomwebArchive:
            given = {"url": fake.url, "orthanc_url": "", "read_timeout": 1.0, "connect_timeout": 1.0, **options}
            archive = DicomwebArchive(DicomwebOptions(**given))  # type: ignore[arg-type]
            open_archives.callback(archive.close)
            return archive

        yield make


@pytest.fixture
def series(fake: FakeDicomweb) -> tuple[Case, Truth]:
    datasets, truth = ct_series()
    fake.instances.extend(datasets)
    first = datasets[0]
    return Case(
        first.SeriesInstanceUID, "series", "1", study_uid=first.StudyInstanceUID, series_uid=first.SeriesInstanceUID
    ), truth


def once(answer: Answer, path: str = "") -> Callable[[Request], Answer | None]:
    """Give this answer to the first request whose path ends so, and none after."""
    left = [answer]
    return lambda request: left.pop() if left and request.path.endswith(path) else None


# Reading


@pytest.mark.parametrize(
    "shape",
    [
        lambda files: multipart(files, lengths=False),
        lambda files: multipart(files, quoted=False),
        lambda files: multipart(files, "=_odd'()+,./:?", lengths=False),
        lambda files: multipart(files, preamble=b"hello", line_end=b"  "),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_reads_any_multipart(
    fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth], shape: Callable[..., Answer], chunked: bool
) -> None:
    def answer(files: list[bytes]) -> Answer:
        made = shape(files)
        made.chunked, made.drip = chunked, 1000
        return made

    fake.multipart = answer
    case, truth = series
    fetched = connect().fetch(case, ignore_progress)
    np.testing.assert_array_equal(fetched.volume.voxels, truth.voxels)


def test_asks_for_the_bytes_as_stored_and_uncompressed(
    fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]
) -> None:
    connect().fetch(series[0], ignore_progress)
    headers = fake.requests[-1].headers
    assert headers["accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [400, 406])
def test_does_without_the_wildcard_where_it_is_refused(
    fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth], status: int
) -> None:
    fake.intercept = lambda request: Answer(status) if "transfer-syntax" in request.headers["accept"] else None
    case, truth = series
    np.testing.assert_array_equal(connect().fetch(case, ignore_progress).volume.voxels, truth.voxels)


def test_a_single_instance_may_come_without_multipart(fake: FakeDicomweb, connect: Connect) -> None:
    (dataset,), _ = ct_series((1, 8, 8))
    fake.multipart = lambda files: Answer(200, {"Content-Type": "application/dicom"}, files[0])
    fake.instances.append(dataset)
    case = Case("x", "series", "1", study_uid=dataset.StudyInstanceUID, series_uid=dataset.SeriesInstanceUID)
    assert connect().fetch(case, ignore_progress).volume.geometry.shape == (1, 8, 8)


def test_an_answer_cut_once_is_asked_for_again(
    fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]
) -> None:
    cuts = [5000]

    def answer(files: list[bytes]) -> Answer:
        made = multipart(files)
        made.cut = cuts.pop() if cuts else None
        return made

    fake.multipart = answer
    case, truth = series
    np.testing.assert_array_equal(connect().fetch(case, ignore_progress).volume.voxels, truth.voxels)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_answer_cut_twice_is_an_error(
    fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth], chunked: bool
) -> None:
    def answer(files: list[bytes]) -> Answer:
        made = multipart(files)
        made.cut, made.chunked = 5000, chunked
        return made

    fake.multipart = answer
    with pytest.raises(ArchiveUnavailable, match="broke off twice"):
        connect().fetch(series[0], ignore_progress)


def test_an_answer_that_ends_early_but_in_order_is_an_error(
    fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]
) -> None:
    def answer(files: list[bytes]) -> Answer:
        made = multipart(files)
        made.body = made.body[: len(made.body) // 2]
        return made

    fake.multipart = answer
    with pytest.raises(ArchiveUnavailable):
        connect().fetch(series[0], ignore_progress)


def test_a_part_that_is_no_dicom_is_a_bad_file(
    fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]
) -> None:
    fake.multipart = lambda files: multipart([*files, b"not DICOM"])
    with pytest.raises(BadFile):
        connect().fetch(series[0], ignore_progress)


def test_html_is_no_series(fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]) -> None:
    fake.multipart = lambda files: Answer(200, {"Content-Type": "text/html"}, b"<p>log in</p>")
    with pytest.raises(ArchiveUnavailable, match="text/html"):
        connect().fetch(series[0], ignore_progress)


@pytest.mark.parametrize("answer", [Answer(404), Answer(204), multipart([])])
def test_nothing_there_is_an_unknown_case(
    fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth], answer: Answer
) -> None:
    fake.intercept = lambda request: answer
    with pytest.raises(UnknownCase):
        connect().fetch(series[0], ignore_progress)


def test_uids_that_are_none_reach_no_address(fake: FakeDicomweb, connect: Connect) -> None:
    for study, series_uid in (("1.2/../..", "1.2"), ("1.2", "1.2?x=1"), ("", "1.2"), ("1.2", "1.02")):
        with pytest.raises(UnknownCase):
            connect().fetch(Case("x", "series", "1", study_uid=study, series_uid=series_uid), ignore_progress)
    assert fake.requests == []


def test_stops_when_asked_to(connect: Connect, series: tuple[Case, Truth]) -> None:
    def stop(done: float, text: str = "") -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        connect().fetch(series[0], stop)


# Time


def test_silence_is_an_error_in_time(fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]) -> None:
    given: list[Answer] = []

    def answer(files: list[bytes]) -> Answer:
        given.append(multipart(files))
        given[0].drip, given[0].pause = 3000, 30.0
        return given[0]

    fake.multipart = answer
    with pytest.raises(ArchiveUnavailable, match="in time"):
        connect(read_timeout=0.3).fetch(series[0], ignore_progress)
    assert [one.sent for one in given] == [1]  # the error came while the archive was silent


def test_a_drip_is_an_error_in_time(fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]) -> None:
    given: list[Answer] = []

    def answer(files: list[bytes]) -> Answer:
        given.append(multipart(files))
        given[0].drip, given[0].pause = 20, 0.05
        return given[0]

    fake.multipart = answer
    with pytest.raises(ArchiveUnavailable, match="bytes a second"):
        connect(read_timeout=0.5).fetch(series[0], ignore_progress)
    assert len(given) == 1
    assert given[0].sent < 60  # of hundreds: it took the time limit, and not the time of the whole body
    assert given[0].sent * 20 < len(given[0].body) / 4


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("when", "seconds"),
    [(lambda: "7", (7.0, 7.0)), (lambda: formatdate(time.time() + 20, usegmt=True), (10.0, 20.0))],
)
def test_waits_as_long_as_it_is_asked_to(
    fake: FakeDicomweb,
    connect: Connect,
    series: tuple[Case, Truth],
    status: int,
    when: Callable[[], str],
    seconds: tuple[float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    archive = connect()
    fake.intercept = once(Answer(status, {"Retry-After": when()}))
    waits: list[float] = []
    real = threading.Event.wait

    def wait(event: threading.Event, timeout: float | None = None) -> bool:
        if timeout is None or timeout < 5:  # somebody else's
            return real(event, timeout)
        waits.append(timeout)
        return False

    monkeypatch.setattr(threading.Event, "wait", wait)
    archive.fetch(series[0], ignore_progress)
    least, most = seconds
    assert len(waits) == 1
    assert least <= waits[0] <= most
    assert len(fake.requests) == 2


def test_a_long_wait_is_handed_on(fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]) -> None:
    fake.intercept = lambda request: Answer(503, {"Retry-After": "600"})
    with pytest.raises(ArchiveUnavailable) as caught:
        connect().fetch(series[0], ignore_progress)
    assert caught.value.retry_after == 600
    assert len(fake.requests) == 1


def test_busy_for_ever_is_an_error(fake: FakeDicomweb, connect: Connect) -> None:
    fake.intercept = lambda request: Answer(429)
    with pytest.raises(ArchiveUnavailable, match="busy"):
        connect(max_retries=1).list(None)
    assert len(fake.requests) == 2


def test_an_archive_that_is_not_there_is_asked_a_few_times(connect: Connect) -> None:
    with pytest.raises(ArchiveUnavailable, match="can't be reached"):
        connect(url=f"http://127.0.0.1:{free_port()}/dicom-web", max_retries=1).list(None)


def test_closing_ends_a_wait(fake: FakeDicomweb, connect: Connect) -> None:
    archive = connect()
    fake.intercept = lambda request: Answer(503, {"Retry-After": "20"})
    threading.Timer(0.2, archive.close).start()
    with pytest.raises(ArchiveUnavailable, match="shutting down"):
        archive.list(None)
    assert len(fake.requests) == 1  # after the wait there would have been another


# Where it goes, and with what


def test_logs_in_with_a_user_and_password_or_a_token(fake: FakeDicomweb, connect: Connect) -> None:
    connect(user="ann", password="pass:wörd").list(None)
    expected = base64.b64encode("ann:pass:wörd".encode()).decode()
    assert fake.requests[-1].headers["authorization"] == f"Basic {expected}"
    connect(token="t0ken").list(None)
    assert fake.requests[-1].headers["authorization"] == "Bearer t0ken"
    connect().list(None)
    assert "authorization" not in fake.requests[-1].headers


def test_a_redirect_elsewhere_is_refused_and_sees_no_password(fake: FakeDicomweb, connect: Connect) -> None:
    with serving(FakeDicomweb()) as stranger:
        fake.intercept = lambda request: Answer(302, {"Location": stranger.url + request.path + "?secret=1"})
        with pytest.raises(ArchiveUnavailable, match=stranger.url.rpartition("/")[0]) as caught:
            connect(user="ann", password="opensesame").list(None)
        assert stranger.requests == []
        assert "secret" not in str(caught.value)
        assert "opensesame" not in str(caught.value)


def test_a_redirect_within_the_origin_is_followed(
    fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]
) -> None:
    def moved(request: Request) -> Answer | None:
        return Answer(307, {"Location": f"/dicom-web{request.path[4:]}"}) if request.path.startswith("/old/") else None

    fake.intercept = moved
    archive = connect(url=fake.url.replace("/dicom-web", "/old"), token="t0ken")
    archive.fetch(series[0], ignore_progress)
    assert fake.requests[-1].headers["authorization"] == "Bearer t0ken"


def test_a_circle_of_redirects_ends(fake: FakeDicomweb, connect: Connect) -> None:
    fake.intercept = lambda request: Answer(302, {"Location": request.path})
    with pytest.raises(ArchiveUnavailable, match="in a loop"):
        connect().list(None)


@pytest.mark.parametrize("status", [401, 403])
def test_says_that_the_password_is_wrong(fake: FakeDicomweb, connect: Connect, status: int) -> None:
    fake.intercept = lambda request: Answer(status)
    with pytest.raises(ArchiveUnavailable, match="password") as caught:
        connect(user="ann", password="opensesame").list(None)
    assert "opensesame" not in str(caught.value)


def test_an_address_with_a_password_in_it_is_refused_unseen() -> None:
    with pytest.raises(ConfigurationError) as caught:
        DicomwebOptions("http://ann:opensesame@pacs/dicom-web")
    assert "opensesame" not in str(caught.value)
    assert "opensesame" not in repr(DicomwebOptions("http://pacs", user="ann", password="opensesame"))
    for url in ("ftp://pacs", "pacs/dicom-web", "http://pacs/x?y=1"):
        with pytest.raises(ConfigurationError):
            DicomwebOptions(url)


def test_prefixes_lead_to_each_service(fake: FakeDicomweb, connect: Connect, series: tuple[Case, Truth]) -> None:
    archive = connect(url=fake.url.removesuffix("/dicom-web"), qido_prefix="dicom-web", wado_prefix="/dicom-web/")
    assert len(archive.list(None).cases) == 1
    archive.fetch(series[0], ignore_progress)


# Listing


def test_pages_through_and_takes_only_images(fake: FakeDicomweb, connect: Connect) -> None:
    for patient in range(7):
        fake.instances.extend(ct_series((2, 4, 4), patient=patient)[0])
    fake.instances.extend(mr_series((2, 4, 4), patient=3)[0])
    report = ct_series((1, 4, 4), patient=9)[0]
    report[0].Modality = "SR"
    fake.instances.extend(report)
    listing = connect(page_size=3).list(None)
    assert listing.complete
    assert sorted(case.modality for case in listing.cases) == ["CT"] * 7 + ["MR"]


def test_a_service_that_ignores_filters_doesn_t_make_reports_cases(fake: FakeDicomweb, connect: Connect) -> None:
    datasets, _ = ct_series((2, 4, 4))
    report = ct_series((1, 4, 4), patient=9)[0]
    report[0].Modality = "SR"
    fake.instances.extend([*datasets, *report])
    fake.intercept = lambda request: request.query.pop("Modality", None) and None
    assert [case.modality for case in connect().list(None).cases] == ["CT"]


def test_filters_go_along(fake: FakeDicomweb, connect: Connect) -> None:
    connect(filter={"BodyPartExamined": "LIVER"}, modalities=("CT",)).list(None)
    query = fake.requests[-1].query
    assert query["BodyPartExamined"] == ["LIVER"]
    assert query["Modality"] == ["CT"]
    assert "NumberOfSeriesRelatedInstances" in query["includefield"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'[{"0020000D": {"vr": "UI"}}]', b'[{"x": 1}, 5, null]'])
def test_missing_fields_are_no_cases_and_no_error(fake: FakeDicomweb, connect: Connect, body: bytes) -> None:
    fake.intercept = lambda request: Answer(200, {"Content-Type": "application/dicom+json"}, body)
    assert connect(page_size=1).list(None).cases == ()


def test_an_address_as_a_uid_is_no_case(fake: FakeDicomweb, connect: Connect) -> None:
    def entry(request: Request) -> Answer:
        values = {"0020000D": "1.2.3", "0020000E": "../../etc", "00080060": "CT"}
        found = [{tag: {"vr": "UI", "Value": [value]} for tag, value in values.items()}]
        return json_answer(found if request.query["offset"] == ["0"] else [])

    fake.intercept = entry
    assert connect(modalities=("CT",)).list(None).cases == ()


def test_what_is_no_json_is_an_error(fake: FakeDicomweb, connect: Connect) -> None:
    fake.intercept = lambda request: Answer(200, {"Content-Type": "text/html"}, b"<p>log in</p>")
    with pytest.raises(ArchiveUnavailable):
        connect().list(None)


def entries(*numbers: int) -> list[dict[str, object]]:
    return [{"0020000E": {"vr": "UI", "Value": [f"1.{n}"]}} for n in numbers]


def test_pages_that_shift_are_read_again() -> None:
    everything = list(range(10))

    def search(offset: int, limit: int) -> list[dict[str, object]]:
        page = entries(*everything[offset : offset + limit])
        if everything[0] == 0 and offset > 0:
            everything.pop(0)
        return page

    found, complete = read_pages(search, 3)
    assert complete
    assert found == entries(*range(1, 10))


def test_pages_that_never_settle_are_not_called_complete() -> None:
    count = [0]

    def search(offset: int, limit: int) -> list[dict[str, object]]:
        count[0] += 100
        return entries(*range(count[0], count[0] + limit))

    assert read_pages(search, 3)[1] is False


def test_a_service_without_paging_or_with_smaller_pages_is_read_whole() -> None:
    assert read_pages(lambda offset, limit: entries(*range(10)), 3) == (entries(*range(10)), True)
    pages = read_pages(lambda offset, limit: entries(*range(10)[offset : offset + min(limit, 2)]), 5)
    assert pages == (entries(*range(10)), True)


# Storing


@pytest.fixture
def label(tmp_path: Path) -> Delivery:
    """What passes for a DICOM SEG as far as storing goes."""
    (dataset,), _ = ct_series((1, 8, 8))
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
    dataset.Modality = "SEG"
    return delivery_of(dataset, tmp_path)


def delivery_of(dataset: Dataset, folder: Path) -> Delivery:
    path = folder / "label.dcm"
    path.write_bytes(encode(dataset))
    case = Case(uid("case"), "series", "1", study_uid=dataset.StudyInstanceUID, series_uid=uid("case"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Delivery(case, path, "final", 1, digest, dataset.SOPInstanceUID)


def posts(fake: FakeDicomweb) -> list[Request]:
    return [request for request in fake.requests if request.verb == "POST"]


def test_stores_once_however_often_it_is_told_to(fake: FakeDicomweb, connect: Connect, label: Delivery) -> None:
    archive = connect()
    receipts = [archive.store(label) for _ in range(3)]
    assert len(posts(fake)) == len(set(receipts)) == 1
    assert posts(fake)[0].headers["content-length"]
    assert "transfer-encoding" not in posts(fake)[0].headers


def test_200_is_no_proof(fake: FakeDicomweb, connect: Connect, label: Delivery) -> None:
    dataset = parse(label.file.read_bytes())
    for lie in (Answer(200), json_answer({}), stored(dataset)):
        fake.intercept = lambda request, lie=lie: lie if request.verb == "POST" else None
        with pytest.raises(ArchiveUnavailable):
            connect().store(label)


def test_a_refusal_is_handed_on_in_words(fake: FakeDicomweb, connect: Connect, label: Delivery) -> None:
    item = {
        "00081155": {"vr": "UI", "Value": [label.sop_instance_uid]},
        "00081197": {"vr": "US", "Value": [0xA700]},
    }
    for status in (200, 202, 409):
        answer = json_answer({"00081198": {"vr": "SQ", "Value": [item]}})
        answer.status = status
        fake.intercept = lambda request, answer=answer: answer if request.verb == "POST" else None
        with pytest.raises(ArchiveUnavailable, match="out of resources"):
            connect().store(label)


def test_another_object_under_the_uid_is_a_conflict(fake: FakeDicomweb, connect: Connect, label: Delivery) -> None:
    other = parse(label.file.read_bytes())
    other.PixelData = bytes(len(other.PixelData))
    fake.instances.append(other)
    with pytest.raises(Conflict, match="PixelData"):
        connect().store(label)
    assert posts(fake) == []


def test_a_coerced_patient_name_is_still_the_label(fake: FakeDicomweb, connect: Connect, label: Delivery) -> None:
    other = parse(label.file.read_bytes())
    other.PatientName = "SOMEONE^ELSE"
    fake.instances.append(other)
    assert connect().store(label)


def test_a_sender_cut_off_after_the_archive_stored_finds_the_label_there(
    fake: FakeDicomweb, connect: Connect, label: Delivery
) -> None:
    def store_and_hang_up(request: Request) -> Answer | None:
        if request.verb == "POST":
            fake.instances.append(parse(label.file.read_bytes()))
            return Answer(200, body=b"x" * 100, cut=0)
        return None

    fake.intercept = store_and_hang_up
    archive = connect()
    with pytest.raises(ArchiveUnavailable):
        archive.store(label)
    assert len(posts(fake)) == 1
    assert archive.store(label)
    assert len(fake.instances) == 1


def test_labels_of_volume_files_are_not_for_a_dicom_archive(connect: Connect, label: Delivery) -> None:
    with pytest.raises(NotSupported):
        connect().store(Delivery(Case("x", "file", "1"), label.file, "final", 1, label.sha256, ""))


def test_only_the_announced_segmentation_is_stored(
    fake: FakeDicomweb, connect: Connect, label: Delivery, tmp_path: Path
) -> None:
    (image,), _ = ct_series((1, 8, 8))
    with pytest.raises(BadFile):
        connect().store(delivery_of(image, tmp_path))
    assert fake.requests == []
