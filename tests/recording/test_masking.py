"""What is hidden, and that nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.recording.masking import Masks

TOKEN = "7d1c0a5e6b2f4c8d9a0b1c2d3e4f5a6b"


def test_a_learnt_value_keeps_its_name_wherever_it_comes() -> None:
    masks = Masks()
    masks.learn_from({"session_id": TOKEN})
    assert masks.value({"listed": [f"/session/{TOKEN}", TOKEN]}) == {"listed": ["/session/<session 1>", "<session 1>"]}


def test_two_ids_keep_apart() -> None:
    masks = Masks()
    masks.learn_from([{"lease_token": TOKEN}, {"lease_token": TOKEN[::-1]}])
    assert masks.value([TOKEN, TOKEN[::-1], TOKEN]) == ["<lease 1>", "<lease 2>", "<lease 1>"]


def test_what_the_images_say_stays() -> None:
    known = "2.25.106560660127798330646153598920010224583"
    masks = Masks({known})
    told = {
        "sop_instance_uid": known,
        "id": 7,
        "studyDate": "2024-01-02",
        "00080020": {"vr": "DA", "Value": ["20240102"]},
    }
    masks.learn_from(told)
    assert masks.value(told) == told


def test_times_keep_their_type_and_null_stays_null() -> None:
    told = {"ts": 1700000000, "seconds": 0.25, "oldest": None, "created": "2026-11-21T10:11:12.131415Z"}
    masked = {"ts": "<time: int>", "seconds": "<duration: float>", "oldest": None, "created": "<time: str>"}
    assert Masks().value(told) == masked


def test_the_clock_is_hidden_in_texts_too() -> None:
    now = datetime.now(UTC)
    text = f"made {now.isoformat()}, on {now:%Y-%m-%d}, {now:%Y%m%d}, and not 2024-01-02"
    assert Masks().text(text) == "made <time>, on <date>, <date>, and not 2024-01-02"


def test_folders_and_ports_have_one_name_in_both_runs() -> None:
    masks = Masks(places={"/some/folder": "<folder>", "34567": "<port>"})
    assert (
        masks.text("http://127.0.0.1:34567/a and /some/folder/b, 345678")
        == "http://127.0.0.1:<port>/a and <folder>/b, 345678"
    )


def test_a_digest_is_hidden_only_where_the_file_has_a_random_uid_in_it() -> None:
    label = {"sha256": "ab" * 32, "sop_instance_uid": ""}
    assert Masks().value(label) == label
    assert Masks().value({**label, "sop_instance_uid": "2.25.1"})["sha256"] == "<digest>"


def test_headers_that_tell_the_time_are_left_out() -> None:
    headers = {"date": "now", "content-type": "multipart/form-data; boundary=0123abcd"}
    assert Masks().headers(headers) == {"content-type": "multipart/form-data; boundary=<boundary>"}
