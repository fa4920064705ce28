"""WADO-RS: headers, instances, frames, bulk data and pictures over HTTP."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import requests
import SimpleITK as sitk
from fastapi.testclient import TestClient
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import generate_frames

from tests.dialects.dicomweb.site import SHAPE, Site, encode, parts, path_of

Kinds = dict[str, list[Dataset]]
OHIF_FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"
STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def test_metadata_of_series_and_study(site: Site, kinds: Kinds) -> None:
    for name, datasets in kinds.items():
        path = path_of(datasets[0], upto="series")
        found = {entry["00080018"]["Value"][0]: entry for entry in site.get(f"{path}/metadata").json()}
        assert set(found) == {str(dataset.SOPInstanceUID) for dataset in datasets}, name
        for dataset in datasets:
            entry = found[dataset.SOPInstanceUID]
            assert entry["00083002"]["Value"] == [str(dataset.file_meta.TransferSyntaxUID)]
            assert entry["7FE00010"]["BulkDataURI"] == f"{site.url}{path_of(dataset)}/bulkdata/7FE00010"
        study = site.get(path_of(datasets[0], upto="studies") + "/metadata").json()
        assert len(study) == len(datasets)


def test_metadata_is_sent_once(site: Site, kinds: Kinds) -> None:
    path = path_of(kinds["mr"][0], upto="series") + "/metadata"
    first = site.get(path)
    again = site.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert site.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("name", ["oblique", "implicit", "big endian", "rle", "jpeg-ls", "enhanced", "enhanced rle"])
def test_frames_as_ohif_asks_for_them(site: Site, kinds: Kinds, name: str) -> None:
    for dataset in kinds[name][:2]:
        count = int(dataset.get("NumberOfFrames", 1))
        syntax = dataset.file_meta.TransferSyntaxUID
        for number in range(1, count + 1):
            ((kind, frame),) = parts(site.get(f"{path_of(dataset)}/frames/{number}", OHIF_FRAMES))
            if syntax.is_compressed:
                assert kind == f"application/octet-stream; transfer-syntax={syntax}"
                assert frame == list(generate_frames(dataset.PixelData, number_of_frames=count))[number - 1]
            else:
                assert kind == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
                pixels = dataset.pixel_array.reshape(count, *SHAPE[1:])
                assert frame == pixels[number - 1].astype("<u2").tobytes()


@pytest.mark.parametrize("name", ["oblique", "enhanced", "rle"])
def test_frames_from_a_server_that_sends_no_files(site: Site, kinds: Kinds, name: str) -> None:
    """Another ASGI server than ours, or a middleware in between: the same answer."""
    path = f"{path_of(kinds[name][0])}/frames/1"
    client = TestClient(site.app, base_url=site.address)
    answer = client.get(f"/dicom-web{path}", headers={"Accept": OHIF_FRAMES})
    head = client.head(f"/dicom-web{path}", headers={"Accept": OHIF_FRAMES})
    ((_, frame),) = parts(site.get(path, OHIF_FRAMES))
    assert len(answer.content) == int(answer.headers["content-length"])
    assert answer.content.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--")[0] == frame
    assert (head.content, head.headers["content-length"]) == (b"", answer.headers["content-length"])


@pytest.mark.parametrize("name", ["oblique", "rle", "enhanced rle"])
def test_decoded_frames_are_sitk_s(site: Site, kinds: Kinds, name: str, tmp_path) -> None:
    dataset = kinds[name][0]
    (tmp_path / "one.dcm").write_bytes(encode(dataset))
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "one.dcm")))
    numbers = ",".join(str(n) for n in range(1, len(voxels) + 1))
    found = parts(site.get(f"{path_of(dataset)}/frames/{numbers}"))
    stored = np.stack([np.frombuffer(frame, "<u2").reshape(SHAPE[1:]) for _, frame in found])
    np.testing.assert_array_equal(stored.astype(np.int32) - 1024, voxels)


def test_frames_in_what_the_client_accepts(site: Site, kinds: Kinds) -> None:
    path = f"{path_of(kinds['rle'][0])}/frames/1"
    ((kind, _),) = parts(site.get(path, 'multipart/related; type="image/dicom-rle"'))
    assert kind == "image/dicom-rle; transfer-syntax=1.2.840.10008.1.2.5"
    alone = site.get(path, "application/octet-stream")
    assert alone.headers["content-type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert alone.content == kinds["rle"][0].pixel_array.astype("<u2").tobytes()
    some = site.get(path, "application/octet-stream", headers={"Range": "bytes=10-19"})
    assert (some.status_code, some.content) == (206, alone.content[10:20])
    assert some.headers["content-range"] == f"bytes 10-19/{len(alone.content)}"
    assert site.get(path, "application/octet-stream", headers={"Range": "bytes=99999-"}).status_code == 416
    endless = site.get(path, "application/octet-stream", headers={"Range": f"bytes=0-{'9' * 5000}"})
    assert (endless.status_code, endless.content) == (200, alone.content)
    for refused in ("image/png", 'multipart/related; type="image/jls"', "text/html"):
        assert site.get(path, refused).status_code == 406
    assert site.get(path, headers={"If-None-Match": site.get(path).headers["etag"]}).status_code == 304


@pytest.mark.parametrize("frames", ["0", "2", "x", "1,", "-1", "1,2", "1;2"])
def test_frames_that_are_none(site: Site, kinds: Kinds, frames: str) -> None:
    assert site.get(f"{path_of(kinds['oblique'][0])}/frames/{frames}").status_code == 400


def test_whole_instances(site: Site, kinds: Kinds) -> None:
    for name, datasets in kinds.items():
        stored = parts(site.get(path_of(datasets[0], upto="series"), STORED))
        files = {encode(dataset) for dataset in datasets}
        assert {file for _, file in stored} == files, name
        explicit = parts(site.get(path_of(datasets[0], upto="studies")))
        assert {kind for kind, _ in explicit} == {"application/dicom; transfer-syntax=1.2.840.10008.1.2.1"}
        by_uid = {str(d.SOPInstanceUID): d for d in (pydicom.dcmread(io.BytesIO(file)) for _, file in explicit)}
        for dataset in datasets:
            np.testing.assert_array_equal(by_uid[dataset.SOPInstanceUID].pixel_array, dataset.pixel_array)


def test_one_instance_as_a_file(site: Site, kinds: Kinds) -> None:
    dataset = kinds["rle"][0]
    answer = site.get(path_of(dataset), "application/dicom; transfer-syntax=*")
    assert answer.content == encode(dataset)
    some = site.get(path_of(dataset), "application/dicom; transfer-syntax=*", headers={"Range": "bytes=128-131"})
    assert (some.status_code, some.content) == (206, b"DICM")
    assert site.get(path_of(dataset), 'application/dicom; transfer-syntax="1.2.840.10008.1.2.4.90"').status_code == 406
    assert site.get(path_of(dataset, upto="series"), "application/dicom").status_code == 406
    assert site.get(path_of(dataset), "application/zip").status_code == 406
    head = requests.head(site.url + path_of(dataset, upto="series"), headers={"Accept": STORED}, timeout=10)
    whole = site.get(path_of(dataset, upto="series"), STORED)
    assert int(head.headers["content-length"]) == len(whole.content)


def test_bulk_data(site: Site, kinds: Kinds) -> None:
    for name in ("oblique", "rle"):
        dataset = kinds[name][0]
        ((_, pixels),) = parts(site.get(f"{path_of(dataset)}/bulkdata/7FE00010", "application/octet-stream, */*"[-3:]))
        assert pixels == dataset.pixel_array.astype("<u2").tobytes()
        for nothing in ("00100010", "00420011", "x", "..%2F..%2Fetc"):
            assert site.get(f"{path_of(dataset)}/bulkdata/{nothing}").status_code == 404


def test_pictures(site: Site, kinds: Kinds) -> None:
    dataset = kinds["oblique"][0]
    for path in (path_of(dataset), path_of(dataset) + "/frames/1", path_of(dataset, upto="series")):
        for resource in ("rendered", "thumbnail"):
            for accept, form in (("image/png", "PNG"), ("image/jpeg", "JPEG"), ("*/*", "JPEG")):
                answer = site.get(f"{path}/{resource}", accept)
                picture = Image.open(io.BytesIO(answer.content))
                assert picture.format == form
                assert picture.size == ((16, 20) if resource == "rendered" else (90, 128))
    small = site.get(f"{path_of(dataset)}/rendered?viewport=8,10&window=40,400,linear&accept=image/png")
    assert max(Image.open(io.BytesIO(small.content)).size) <= 10
    for query in ("viewport=0,1", "window=x", "quality=0", "viewport=99999,1"):
        assert site.get(f"{path_of(dataset)}/rendered?{query}").status_code == 400
    assert "warning" in site.get(f"{path_of(dataset)}/rendered?annotation=patient").headers
    assert site.get(f"{path_of(dataset)}/rendered", "image/gif").status_code == 406
    assert site.get(f"{path_of(dataset)}/frames/7/rendered").status_code == 400


@pytest.mark.parametrize("path", ["/studies/1.2/metadata", "/studies/1.2/series/3.4", "/studies/1.2/rendered"])
def test_what_is_not_there(site: Site, path: str) -> None:
    assert site.get(path).status_code == 404


@pytest.mark.parametrize("uid", ["x..x", "..%2f..%2f..%2fetc%2fpasswd", "1.2.x", "01.2", "1" * 65, "%00", "1.2%0a"])
def test_no_uid_no_file(site: Site, kinds: Kinds, uid: str) -> None:
    path = path_of(kinds["oblique"][0], upto="series")
    for below in ("", "/metadata", "/frames/1", "/rendered", "/bulkdata/7FE00010"):
        assert site.get(f"{path}/instances/{uid}{below}").status_code in (400, 404, 501)
    assert site.get(f"/studies/{uid}/metadata").status_code in (400, 404, 501)


def test_a_file_that_changes_is_read_again(site: Site, kinds: Kinds) -> None:
    dataset = kinds["mr"][1]
    url = f"{path_of(dataset)}/frames/1"
    before = parts(site.get(url))
    (path,) = (p for p in (site.folder / "mr").iterdir() if p.read_bytes() == encode(dataset))
    changed = pydicom.dcmread(path)
    changed.PatientComments = "so that the pixels move"
    changed.PixelData = bytes(reversed(changed.PixelData))
    path.write_bytes(encode(changed))
    after = parts(site.get(url))
    assert before[0][1] == dataset.PixelData
    assert after[0][1] == changed.PixelData


def test_by_token_in_the_path_addresses_have_it(tmp_path, kinds: Kinds) -> None:
    from tests.dialects.dicomweb.site import serving, write

    write({"mr": kinds["mr"]}, tmp_path / "studies")
    with serving(tmp_path, tmp_path / "studies", token="secret") as closed:
        assert closed.get("/studies").status_code == 401
        inside = replace(closed, url=f"{closed.address}/t/secret/dicom-web")
        (entry,) = inside.get("/studies").json()
        assert entry["00081190"]["Value"][0].startswith(f"{inside.url}/studies/")
        metadata = inside.get(path_of(kinds["mr"][0]) + "/metadata").json()
        assert requests.get(metadata[0]["7FE00010"]["BulkDataURI"], timeout=10).status_code == 200
