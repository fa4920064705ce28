"""DICOMweb, as this server's own over a folder, and the archive's own passed on."""

from __future__ import annotations

from collections.abc import Sequence

from tests.dicom.synthetic import encode
from tests.recording.client import Answer, Site

DICOM, OCTETS = 'multipart/related; type="application/dicom"', 'multipart/related; type="application/octet-stream"'
STORED = "; transfer-syntax=*"


def play(site: Site) -> None:
    _search(site)
    for name in site.studies.series:
        _retrieve(site, name)
    _what_is_accepted(site)
    _pictures(site)
    _kept_by_the_client(site)
    _errors(site)
    _store(site)
    for path in ("wado", "qido", "stow"):
        site.get(f"/proxy/dicom/{path}/studies?limit=2")
    oblique = site.studies.series["oblique"]
    site.get(f"/proxy/dicom/wado{oblique.instance(0)}/metadata")
    site.get(f"/proxy/dicom{oblique.path}/instances")
    site.get("/proxy/dicom/")
    site.post("/proxy/dicom/stow/studies", b"nothing", Content_Type="text/plain")


def _search(site: Site) -> None:
    oblique = site.studies.series["oblique"]
    study = oblique.path.partition("/series")[0]
    for path in (
        "/studies",
        "/studies?limit=2&offset=1",
        "/studies?PatientID=PHANTOM-00002",
        "/studies?PatientName=phantom*&fuzzymatching=true",
        "/studies?StudyDate=20240101-20240103&includefield=all",
        "/studies?00100020=PHANTOM-0000?&includefield=00081030",
        "/studies?ModalitiesInStudy=MR",
        "/studies?PatientID=NOBODY",
        f"{study}/series",
        f"{oblique.path}/instances",
        f"{oblique.path}/instances?includefield=00200032&limit=3",
        "/series?Modality=MR",
        "/studies/1.2.3/series",
        "/studies?limit=some",
        "/studies?NoSuchTag=1",
        "/studies?StudyDate=soon",
    ):
        _get(site, path)
    for accept in ("application/dicom+json", "application/json", "application/dicom+xml"):
        _get(site, "/studies", accept)
    site.call("HEAD", "/dicom-web/studies?limit=1")


def _retrieve(site: Site, name: str) -> None:
    image = site.studies.series[name]
    frames = len(image.instances) == 1
    first = image.instance(0)
    _get(site, f"{image.path}/metadata")
    _get(site, f"{first}/metadata")
    for accept in ("", DICOM, f"{DICOM}{STORED}", "application/dicom", f"application/dicom{STORED}"):
        _get(site, first, accept)
    _get(site, image.path, f"{DICOM}{STORED}")
    for numbers in ("1", "1,3" if frames else "1", "99", "0", "one"):
        for accept in ("", OCTETS, f"{OCTETS}{STORED}", "application/octet-stream"):
            _get(site, f"{first}/frames/{numbers}", accept)
    _get(site, f"{first}/bulkdata/7FE00010")
    _get(site, f"{first}/bulkdata/00100010")


def _what_is_accepted(site: Site) -> None:
    series = site.studies.series
    for name in ("oblique", "compressed", "enhanced"):
        for accept in (
            "*/*",
            "image/jls",
            'multipart/related; type="image/jls"',
            f'multipart/related; type="image/jls"{STORED}, {OCTETS}; q=0.5',
            f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.1",
            f"{OCTETS}; transfer-syntax=1.2.840.10008.1.2.4.50",
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            "text/plain",
        ):
            _get(site, f"{series[name].instance(0)}/frames/1", accept)
    for accept in ("text/plain", f"{DICOM}; transfer-syntax=1.2.840.10008.1.2.4.50", "application/dicom, */*; q=0.1"):
        _get(site, series["oblique"].instance(0), accept)
    _get(site, f"{series['oblique'].path}/metadata", "application/json")
    _get(site, f"{series['oblique'].path}/metadata", "text/html")


def _pictures(site: Site) -> None:
    for name in ("oblique", "sagittal", "compressed", "enhanced"):
        image = site.studies.series[name]
        for path in (
            f"{image.instance(0)}/rendered",
            f"{image.instance(0)}/frames/1/rendered",
            f"{image.instance(0)}/thumbnail",
            f"{image.path}/rendered",
            f"{image.path}/thumbnail",
        ):
            _get(site, path, "image/png")
        _get(site, f"{image.instance(0)}/rendered?window=40,400,linear&quality=50", "image/jpeg")
        _get(site, f"{image.instance(0)}/rendered?viewport=20,30", "image/png")
    first = site.studies.series["oblique"].instance(0)
    for query in ("window=wide", "viewport=0,0", "quality=101", "annotation=patient"):
        _get(site, f"{first}/rendered?{query}", "image/png")
    _get(site, f"{first}/rendered", "image/gif")
    _get(site, f"{first}/frames/1,2/rendered")


def _kept_by_the_client(site: Site) -> None:
    first = site.studies.series["oblique"].instance(0)
    for path in (f"{first}/metadata", first, f"{first}/frames/1", f"{first}/rendered"):
        tag = site.ask("GET", f"/dicom-web{path}").headers.get("etag", '"none"')
        site.get(f"/dicom-web{path}", If_None_Match=tag)
        site.get(f"/dicom-web{path}", If_None_Match='"another"')
        site.call("HEAD", f"/dicom-web{path}")
    for asked in ("bytes=0-9", "bytes=-5", "bytes=99999999-", "lines=1-2"):
        site.get(f"/dicom-web{first}/frames/1", Accept="application/octet-stream", Range=asked)


def _errors(site: Site) -> None:
    oblique = site.studies.series["oblique"]
    for path in (
        "",
        "/",
        "/nothing",
        "/studies/nobody",
        "/studies/1.2.3",
        "/studies/1.2.3/metadata",
        "/studies/01.2/metadata",
        f"{oblique.path}/instances/1.2.3",
        f"{oblique.path}/instances/1.2.3/frames/1",
        f"{oblique.instance(0)}/frames/",
        f"{oblique.instance(0)}/nothing",
        f"{oblique.path.replace('/series', '9/series')}/metadata",
        "?requestType=WADO",
    ):
        _get(site, path)
    site.delete(f"/dicom-web{oblique.path}")
    site.put("/dicom-web/studies", b"x")


def _store(site: Site) -> None:
    """A segmentation of a case becomes its label; other objects go into the archive."""
    studies = site.studies
    binary, labelmap, elsewhere = studies.segmentations
    other = encode(studies.newcomer)
    _stow(site, [binary])
    _stow(site, [binary])
    _stow(site, [labelmap], referer="http://127.0.0.1/ohif/viewer")
    _stow(site, [other])
    _stow(site, [other])
    _stow(site, [elsewhere])
    _stow(site, [b"nothing", binary[: len(binary) // 2]])
    _stow(site, [binary, b"nothing"])
    _stow(site, [])
    _stow(site, [other], f"/studies/{studies.newcomer.StudyInstanceUID}")
    _stow(site, [other], "/studies/1.2.3")
    _stow(site, [other], "/studies/nobody")
    site.post("/dicom-web/studies", other, Content_Type="application/dicom")
    site.post("/dicom-web/studies", b"x", Content_Type="text/plain")
    site.post("/dicom-web/studies", b"x", Content_Type='multipart/related; type="application/dicom"')
    site.post("/dicom-web/studies", b"--b1\r\nbroken", Content_Type=f"{DICOM}; boundary=b1")
    site.wait_for_labels()
    site.get("/api/v1/labels")
    _get(site, f"/studies/{studies.newcomer.StudyInstanceUID}/metadata")
    oblique = studies.series["oblique"]
    _get(site, f"{oblique.path.partition('/series')[0]}/series?Modality=SEG")
    site.get("/info/")


def _get(site: Site, path: str, accept: str = "") -> Answer:
    headers = {"Accept": accept} if accept else {}
    return site.get(f"/dicom-web{path}", **headers)


def _stow(site: Site, files: Sequence[bytes], path: str = "/studies", referer: str = "") -> Answer:
    body = b"".join(b"--b1\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
    headers = {"Content_Type": f"{DICOM}; boundary=b1", **({"Referer": referer} if referer else {})}
    return site.post(f"/dicom-web{path}", body + b"--b1--\r\n", **headers)
