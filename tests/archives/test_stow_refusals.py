"""Labels that a DICOMweb archive doesn't take: whether another try may do, or a person has to."""

from __future__ import annotations

import pytest

from app.core.archive import Delivery
from app.dicom.parsing import parse
from app.errors import ArchiveRefuses, ArchiveUnavailable
from tests.archives.fake_dicomweb import Answer, FakeDicomweb, Request, json_answer, multipart, stored
from tests.archives.test_dicomweb import Connect, connect, fake, label, posts

__all__ = ["connect", "fake", "label"]


def refusing(fake: FakeDicomweb, answer: Answer) -> None:
    fake.intercept = lambda request: answer if request.verb == "POST" else None


@pytest.mark.parametrize("status", [200, 202, 400, 409])
@pytest.mark.parametrize(
    ("reason", "lasting"),
    [
        (0xA900, True),  # doesn't match its SOP class
        (0xC122, True),  # its transfer syntax isn't taken
        (0x0122, True),  # its SOP class isn't taken
        (0xA701, False),  # out of resources
        (0x0110, False),  # processing failure
        (0x0111, False),  # one is there: is it this one?
        (0x0124, False),  # no permission
    ],
)
def test_a_reason_says_whether_another_try_may_do(
    fake: FakeDicomweb, connect: Connect, label: Delivery, status: int, reason: int, lasting: bool
) -> None:
    item = {
        "00081155": {"vr": "UI", "Value": [label.sop_instance_uid]},
        "00081197": {"vr": "US", "Value": [reason]},
    }
    answer = json_answer({"00081198": {"vr": "SQ", "Value": [item]}})
    answer.status = status
    refusing(fake, answer)
    with pytest.raises(ArchiveRefuses if lasting else ArchiveUnavailable, match="refuses a label"):
        connect().store(label)


@pytest.mark.parametrize(("status", "words"), [(413, r"too large \(.* MiB\)"), (415, "files of this type")])
def test_a_status_that_is_about_the_label_is_lasting(
    fake: FakeDicomweb, connect: Connect, label: Delivery, status: int, words: str
) -> None:
    refusing(fake, Answer(status, {"Content-Type": "text/html"}, b"<html>no</html>"))
    with pytest.raises(ArchiveRefuses, match=words):
        connect().store(label)


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500, 502, 507])
@pytest.mark.parametrize("body", [b"", b"<html>starting</html>", b'{"Message": "no"}', b"[1]"])
def test_an_error_that_does_not_say_what_is_wrong_is_tried_again(
    fake: FakeDicomweb, connect: Connect, label: Delivery, status: int, body: bytes
) -> None:
    refusing(fake, Answer(status, {}, body))
    with pytest.raises(ArchiveUnavailable, match=str(status)) as told:
        connect().store(label)
    assert (told.value.retry_after >= 600) == (status < 500)


def test_a_label_that_is_listed_as_stored_with_an_error_status_is_looked_for(
    fake: FakeDicomweb, connect: Connect, label: Delivery
) -> None:
    def store_and_complain(request: Request) -> Answer | None:
        if request.verb != "POST":
            return None
        dataset = parse(label.file.read_bytes())
        fake.instances.append(dataset)
        answer = stored(dataset)
        answer.status = 409
        return answer

    fake.intercept = store_and_complain
    assert connect().store(label)


def test_a_read_back_that_is_no_dicom_says_nothing_about_the_label(
    fake: FakeDicomweb, connect: Connect, label: Delivery
) -> None:
    fake.intercept = lambda request: multipart([b"<html>log in</html>"]) if request.verb == "GET" else None
    with pytest.raises(ArchiveUnavailable, match="not DICOM"):
        connect().store(label)
    assert posts(fake) == []
