"""Forms come in whatever pieces the network makes of them, and come out whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from fastapi import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import BadFile, BadInput
from app.http.forms import Form, received

BOUNDARY = "----------lImIt_of_THE_fIle_eW_$"


def sent_by_slicer(fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> bytes:
    """As `encode_multipart_formdata` of the stock clients writes it, with its stray line end at the end."""
    lines: list[bytes] = []
    for key, value in fields.items():
        lines += [
            f"--{BOUNDARY}".encode(),
            f'Content-Disposition: form-data; name="{key}"'.encode(),
            b"",
            value.encode(),
        ]
    for key, (name, data) in files.items():
        disposition = f'Content-Disposition: form-data; name="{key}"; filename="{name}"'
        kind = b"Content-Type: application/octet-stream"
        lines += [f"--{BOUNDARY}".encode(), disposition.encode(), kind, b"", data]
    lines += [f"--{BOUNDARY}--".encode(), b""]
    return b"".join(line + b"\r\n" for line in lines)


def receive(
    folder: Path, body: bytes, pieces: int = 7919, content_type: str | None = None, most: int = 10**9
) -> tuple[Form, dict[str, list[bytes]]]:
    """The form, and the bytes of its files, which are gone once the block ends."""
    chunks = [body[start : start + pieces] for start in range(0, len(body), pieces)]
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    kind = content_type or f"multipart/form-data; boundary={BOUNDARY}"
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}

    async def next_message() -> dict[str, object]:
        return messages.pop(0)

    async def run() -> tuple[Form, dict[str, list[bytes]]]:
        async with received(Request(scope, next_message), folder, most) as form:
            return form, {name: [u.file.read_bytes() for u in some] for name, some in form.uploads.items()}

    return asyncio.run(run())


text = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=40)


@given(
    params=text,
    data=st.binary(max_size=3000),
    more=st.binary(max_size=50),
    pieces=st.integers(1, 400),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_in_any_pieces(tmp_path, params, data, more, pieces):
    body = sent_by_slicer({"params": params}, {"label": ("a.nrrd", data), "file": ("b.nii.gz", more)})
    form, files = receive(tmp_path, body, pieces)
    assert form.fields == {"params": params}
    assert files == {"label": [data], "file": [more]}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "name", "stem"),
    [
        ("/tmp/x y/CT 1.nii.gz", "CT 1.nii.gz", "CT 1"),
        (r"C:\Users\anna\1.2.840.nrrd", "1.2.840.nrrd", "1.2.840"),
        ("../../etc/passwd", "passwd", "passwd"),
        ("1.2.840.SEG.NRRD", "1.2.840.SEG.NRRD", "1.2.840"),
        ("Größe.nii", "Größe.nii", "Größe"),
    ],
)
def test_only_the_last_component_of_a_file_name_counts(tmp_path, sent, name, stem):
    form, _ = receive(tmp_path, sent_by_slicer({}, {"file": (sent, b"x")}))
    upload = form.needed("file")
    assert (upload.name, upload.stem) == (name, stem)
    assert upload.file.parent.parent == tmp_path
    assert upload.file.name.startswith("0")


def test_a_large_file_goes_to_disk_whole(tmp_path):
    data = bytes(range(256)) * 20_000
    _, files = receive(tmp_path, sent_by_slicer({}, {"label": ("a.bin", data)}), pieces=65_536)
    assert files["label"] == [data]


def test_more_than_allowed_is_refused_and_nothing_stays(tmp_path):
    with pytest.raises(BadFile, match="max_upload_bytes"):
        receive(tmp_path, sent_by_slicer({}, {"label": ("a.nrrd", bytes(5000))}), most=4000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("body", [b"no boundary at all", b"--" + BOUNDARY.encode() + b"\r\nbroken", b"\x00" * 50])
def test_a_broken_form_is_the_callers_fault(tmp_path, body):
    with pytest.raises(BadInput):
        receive(tmp_path, body)[0].needed("file")


def test_the_reviewer_sends_urlencoded_fields(tmp_path):
    form, _ = receive(tmp_path, b"params=%7B%22a%22%3A+1%7D&x=", content_type="application/x-www-form-urlencoded")
    assert form.json("params") == {"a": 1}


def test_no_body_is_an_empty_form(tmp_path):
    form, files = receive(tmp_path, b"", content_type="application/json")
    assert (form.fields, files, form.json("params")) == ({}, {}, {})


@pytest.mark.parametrize("text", ["[1]", "{", '"x"', "nan"])
def test_params_are_a_json_object(text):
    with pytest.raises(BadInput, match="params"):
        Form(fields={"params": text}).json("params")
