"""The shipped configurations of nginx and Caddy, in real ones with TLS: every address that the server makes leads back
through them, nothing is too large, and nothing is held back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import numpy as np
import pydicom
import pytest
import requests
from fastapi import Request

from app.client import Client
from app.errors import BadInput, Unavailable
from app.http.identity import host_of
from tests import orthanc
from tests.dialects.dicomweb.site import Site, parts, path_of, serving
from tests.dicom.synthetic import ct_series, encode, write_series
from tests.proxies import PREFIX, PROXIES, Proxy, in_front

TOKEN = "s3cret"
SHAPE = (4, 64, 64)


@dataclass(frozen=True)
class Behind:
    """A server behind a proxy. `direct` is the server without it."""

    proxy: Proxy
    direct: Site

    @property
    def url(self) -> str:
        return self.proxy.url

    def get(self, url: str, **headers: str) -> requests.Response:
        named = {"Authorization": f"Bearer {TOKEN}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        return requests.get(url, headers=named, verify=str(self.proxy.certificate), timeout=60)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """A server for each prefix."""
    folder = tmp_path_factory.mktemp("sites")
    datasets = ct_series(SHAPE)[0]
    for one in datasets:
        one.add_new(0x00091001, "OB", bytes(range(256)) * 64)  # too long to be inline in JSON
        one.add_new(0x00090010, "LO", "SEGLOOP TEST")
    write_series(datasets, folder / "studies" / "first")
    with (
        serving(folder / "root", folder / "studies", TOKEN) as root,
        serving(folder / "below", folder / "studies", TOKEN, root_path=PREFIX) as below,
    ):
        for site in (root, below):
            site.app.add_api_route("/seen", seen)
        yield {"": root, PREFIX: below}


def seen(request: Request) -> dict[str, str]:
    return {"client": host_of(request), "base": str(request.base_url)}


@pytest.fixture(scope="module", params=[(program, prefix) for program in PROXIES for prefix in ("", PREFIX)])
def behind(
    request: pytest.FixtureRequest, sites: dict[str, Site], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Behind]:
    program, prefix = request.param
    direct = sites[prefix]
    port = int(direct.address.rpartition(":")[2])
    with in_front(program, tmp_path_factory.mktemp(program), port, prefix) as proxy:
        yield Behind(proxy, direct)


def below(value: Any) -> Iterator[str]:
    """The web addresses in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from below(one)
    elif isinstance(value, str) and value.startswith(("http://", "https://")):
        yield value


def test_pages_and_what_they_load(behind: Behind) -> None:
    page = behind.get(f"{behind.url}/")
    assert page.status_code == 200
    assert f"{behind.url}/u/NAME" in page.text.replace("/t/TOKEN", "")
    assert behind.get(f"{behind.url}/dashboard/static/main.js").headers["content-type"].startswith("text/javascript")
    for linked in (*re.findall(r'(?:src|href)="([^"]+)"', behind.get(f"{behind.url}/docs").text), "openapi.json"):
        assert behind.get(urljoin(f"{behind.url}/docs", linked)).status_code == 200
    (server,) = behind.get(f"{behind.url}/openapi.json").json()["servers"]
    assert urljoin(f"{behind.url}/openapi.json", server["url"]) == f"{behind.url}/"


def test_redirects_stay_behind_the_proxy(behind: Behind) -> None:
    assert behind.get(f"{behind.url}/ohif").url == f"{behind.url}/ohif/"
    assert behind.get(f"{behind.url}/t/{TOKEN}").url == f"{behind.url}/t/{TOKEN}/"
    assert behind.get(behind.url).url == f"{behind.url}/"


def test_ohif_is_told_the_addresses_of_the_proxy(behind: Behind) -> None:
    script = behind.get(f"{behind.url}/t/{TOKEN}/ohif/app-config.js").text
    config = json.loads(script.removeprefix("window.config = ").rstrip().removesuffix(";"))
    root = f"{urlsplit(behind.url).path}/t/{TOKEN}"
    assert config["routerBasename"] == f"{root}/ohif/"
    assert config["dataSources"][0]["configuration"]["wadoRoot"] == f"{root}/dicom-web"


@pytest.mark.parametrize("carrier", ["", f"/t/{TOKEN}", f"/t/{TOKEN}/u/anna"])
def test_addresses_in_dicomweb_answers_lead_back(behind: Behind, carrier: str) -> None:
    first = pydicom.dcmread(min((behind.direct.folder / "first").iterdir()), stop_before_pixels=True)
    root = f"{behind.url}{carrier}/dicom-web"
    (series,) = behind.get(f"{root}{path_of(first, upto='studies')}/series").json()
    (retrieve,) = series["00081190"]["Value"]
    assert retrieve == f"{root}{path_of(first, upto='series')}"
    bulk = list(below(behind.get(f"{retrieve}/metadata").json()))
    assert len(bulk) == 2 * SHAPE[0]  # pixels, and the private element
    for address in bulk[:2]:
        assert address.startswith(root)
        assert behind.get(address).status_code == 200, address


def test_files_are_whole(behind: Behind) -> None:
    """They are sent by the kernel, not by the application."""
    file = min((behind.direct.folder / "first").iterdir())
    path = path_of(pydicom.dcmread(file, stop_before_pixels=True))
    answer = behind.get(f"{behind.url}/dicom-web{path}", accept='multipart/related; type="application/dicom"')
    assert [content for _, content in parts(answer)] == [file.read_bytes()]


def test_monai_label_offers_an_address_behind_the_proxy(behind: Behind) -> None:
    answer = requests.post(
        f"{behind.url}/t/{TOKEN}/activelearning/first",
        json={"client_id": behind.url},
        verify=str(behind.proxy.certificate),
        timeout=60,
    ).json()
    assert answer["RetrieveURL"].startswith(f"{behind.url}/t/{TOKEN}/proxy/dicom/wado/studies/")
    assert behind.get(f"{answer['RetrieveURL']}/metadata").status_code == 200


def test_what_a_client_claims_of_itself_does_not_count(behind: Behind) -> None:
    said = behind.get(
        f"{behind.url}/seen",
        X_Forwarded_For="6.6.6.6",
        X_Forwarded_Proto="http",
        X_Forwarded_Host="evil.example",
        X_Forwarded_Prefix="/evil",
    )
    assert said.json() == {"client": "127.0.0.1", "base": f"{behind.url}/"}


def test_large_bodies_come_through(behind: Behind) -> None:
    """nginx refuses more than a megabyte unless it is told otherwise."""
    (dataset,) = ct_series((1, 1024, 1024), patient=9)[0]
    answer = requests.post(
        f"{behind.url}/dicom-web/studies",
        data=b"--b\r\nContent-Type: application/dicom\r\n\r\n" + encode(dataset) + b"\r\n--b--\r\n",
        headers={
            "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
            "Authorization": f"Bearer {TOKEN}",
        },
        verify=str(behind.proxy.certificate),
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert next(below(answer.json())).startswith(f"{behind.url}/dicom-web/studies/")


def test_nninteractive_client_clicks_through_it(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession

    monkeypatch.setenv("SSL_CERT_FILE", str(behind.proxy.certificate))
    session = nnInteractiveRemoteInferenceSession(behind.url, api_key=TOKEN)
    try:
        image = np.random.default_rng(0).random((1, 40, 100, 100), np.float32)
        session.set_image(image)
        session.set_target_buffer(np.zeros(image.shape[1:], np.uint8))
        session.add_point_interaction((20, 50, 50), include_interaction=True)
        assert np.asarray(session.target_buffer)[20, 50, 50] == 1
    finally:
        session.close()


def test_client_for_programs_works_through_it(behind: Behind, tmp_path: Path) -> None:
    with Client(behind.url, TOKEN, ca_file=behind.proxy.certificate) as client:
        assert client.server().progress.total >= 1
    with Client(behind.url, TOKEN) as trusting_nobody, pytest.raises(Unavailable, match="CERTIFICATE_VERIFY_FAILED"):
        trusting_nobody.server()
    with pytest.raises(BadInput, match="nowhere"):
        Client(behind.url, ca_file=tmp_path / "nowhere")


def test_events_are_not_held_back(behind: Behind) -> None:
    """The stream stays open, so a proxy that collects an answer before it passes it on would pass on nothing."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/event-stream"}
    with requests.get(
        f"{behind.url}/api/v1/events",
        headers=headers,
        stream=True,
        verify=str(behind.proxy.certificate),
        timeout=60,
    ) as stream:
        chunks = stream.iter_content(None)
        assert next(chunks).startswith(b"retry:")


def test_server_itself_is_still_reached_without_the_prefix(behind: Behind) -> None:
    said = requests.get(
        f"{behind.direct.address}/seen", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60
    ).json()
    assert said["base"] == f"{behind.direct.address}/"


@pytest.mark.orthanc
@pytest.mark.skipif(bool(orthanc.missing()), reason=orthanc.missing())
def test_addresses_of_an_archive_lead_back_too(tmp_path: Path) -> None:
    """Orthanc writes its own into its answers."""
    archive = orthanc.Orthanc.start(tmp_path / "orthanc", users={"segloop": "pw"})
    datasets = ct_series(SHAPE)[0]
    archive.upload(datasets)
    password = {"username": "segloop", "password": "pw"}
    with (
        serving(tmp_path, archive.url, TOKEN, root_path=PREFIX, archive=password) as direct,
        in_front("nginx", tmp_path / "nginx", int(direct.address.rpartition(":")[2]), PREFIX) as proxy,
    ):
        behind = Behind(proxy, direct)
        root = f"{behind.url}/t/{TOKEN}/dicom-web"
        (series,) = behind.get(f"{root}{path_of(datasets[0], upto='studies')}/series").json()
        metadata = behind.get(f"{root}{path_of(datasets[0], upto='series')}/metadata").json()
        addresses = [*below(series), *below(metadata)]
        assert len(addresses) > SHAPE[0]
        assert [one for one in addresses if not one.startswith(f"{root}/studies/")] == []
        assert behind.get(addresses[-1]).status_code == 200
    archive.stop()
