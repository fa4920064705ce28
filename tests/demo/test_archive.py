"""The demo against a real archive: phantoms go in by STOW-RS, labels come to lie beside them, strangers are let be."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
import requests
from rich.console import Console

from app.demo.phantoms import write_studies
from app.demo.plan import PATIENT_PREFIX
from app.demo.play import DemoOptions, play
from app.demo.stow import store
from app.errors import ArchiveUnavailable
from app.settings import Settings
from tests.demo.test_play import FAKES
from tests.dicom.synthetic import ct_series
from tests.orthanc import Orthanc, OrthancMissing, free_port


@pytest.fixture
def orthanc(tmp_path) -> Iterator[Orthanc]:
    try:
        server = Orthanc.start(tmp_path / "orthanc")
    except OrthancMissing as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.mark.orthanc
def test_a_demo_in_an_archive_labels_phantoms_and_nothing_else(tmp_path, orthanc):
    stranger, _ = ct_series()
    orthanc.upload(stranger)
    config = tmp_path / "fakes.yaml"
    config.write_text(FAKES)
    console = Console(file=io.StringIO(), width=160)
    options = DemoOptions(
        folder=tmp_path / "demo",
        archive=orthanc.url,
        config=config,
        once=True,
        patients=2,
        rounds=2,
        cases=2,
        held_out=0,
        console=console,
    )
    assert play(options) == 0, console.file.getvalue()
    assert console.file.getvalue().count(PATIENT_PREFIX) >= 3  # two patients, one of them twice
    found = requests.get(f"{orthanc.url}/series", params={"Modality": "SEG"}, timeout=10).json()
    patients = {series["00100020"]["Value"][0] for series in found}
    assert len(found) == 3
    assert all(patient.startswith(PATIENT_PREFIX) for patient in patients)


def test_an_archive_that_does_not_answer_is_named(tmp_path):
    made = write_studies(tmp_path / "studies", tmp_path / "truth", 1, seed=4)
    settings = Settings(studies=f"http://127.0.0.1:{free_port()}/dicom-web")
    with pytest.raises(ArchiveUnavailable, match="phantoms"):
        store(settings, tmp_path / "studies", made, lambda done, text="": None)
