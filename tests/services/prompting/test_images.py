"""Images that viewers send, from their arrival on: against kills, cut-off files and full disks."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from app.archives.memory import MemoryArchive
from app.core.prompt import Point
from app.core.volume import Geometry, Volume
from app.errors import BadFile, BadInput, UnknownSession
from app.formats.volume_files import read_volume
from app.services import Services
from app.services.prompting.images import SentImage
from app.services.prompting.log import Viewer
from app.settings import LabelSettings, ModelSettings, Settings
from tests.prompting import Steps

SHAPE = (40, 96, 80)
ANA = Viewer("a viewer", "ana")
AT = (20, 50, 41)

Opener = Callable[[], Services]


def opened(workspace: Path) -> Services:
    models = {"fake": ModelSettings(type="fake")}
    labels = LabelSettings(structures=["liver"])
    return Services.open(Settings(workspace=workspace, device="cpu", models=models, labels=labels), MemoryArchive())


def image(seed: int = 0) -> Volume:
    voxels = np.random.default_rng(seed).integers(-1000, 1000, SHAPE, dtype=np.int16)
    return Volume(voxels, Geometry(SHAPE, np.diag([0.7, 0.8, 3.0, 1.0])))


def send(services: Services, volume: Volume) -> str:
    return services.prompting.open("x", SentImage(volume, placed=True), "fake", {}, ANA)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Opener]:
    """Starts the services over the same workspace, after ending those that run."""
    running: list[Services] = []

    def start() -> Services:
        for services in running:
            services.stop()
        running[:] = [opened(tmp_path / "workspace")]
        return running[0]

    yield start
    for services in running:
        services.stop()


def click_and_die(workspace: Path) -> None:
    """What runs in a process of its own: a server that is killed as soon as the first click is answered."""
    import os

    services = opened(workspace)
    Steps(services).add(send(services, image()), "x", [Point(AT)])
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_click_that_was_answered_outlives_a_kill_with_its_image(start: Opener, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.services.prompting.test_images import click_and_die;"
        " click_and_die(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "workspace")], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    services = start()
    session = services.prompting.log.newest("x").id
    assert session is not None
    mask = Steps(services).mask(session, "x")
    assert mask.sum() == 125
    assert mask[AT] == 1
    sent = image()
    kept = services.cases.volume(services.prompting.record(session).case_id)
    assert np.array_equal(kept.voxels, sent.voxels)
    np.testing.assert_allclose(kept.geometry.affine, sent.geometry.affine)


def test_the_file_is_in_its_place_when_a_click_is_answered(start: Opener, tmp_path: Path) -> None:
    services = start()
    Steps(services).add(send(services, image()), "x", [Point(AT)])
    (file,) = (tmp_path / "workspace" / "uploads").glob("*/*/*")
    assert np.array_equal(read_volume(file).voxels, image().voxels)
    assert not list((tmp_path / "workspace" / "incoming").iterdir())


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", ">i2", "int64", "float16", "float64"])
def test_every_type_and_order_of_axes_is_kept(start: Opener, dtype: str) -> None:
    voxels = np.random.default_rng(1).integers(0, 2, SHAPE).astype(dtype).transpose(2, 0, 1)
    shape = (SHAPE[2], SHAPE[0], SHAPE[1])
    services = start()
    case_id = services.prompting.record(send(services, Volume(voxels, Geometry(shape, np.eye(4))))).case_id
    services.prompting.images.wait_stored(case_id)
    kept = services.cases.volume(case_id).voxels
    assert np.array_equal(kept, voxels.astype(np.float32))


def test_a_file_that_a_power_cut_left_too_short_is_asked_for_and_written_anew(start: Opener, tmp_path: Path) -> None:
    services = start()
    session = send(services, image())
    services.prompting.images.wait_stored(services.prompting.record(session).case_id)
    (file,) = (tmp_path / "workspace" / "uploads").glob("*/*/*")
    file.write_bytes(file.read_bytes()[:1000])
    services = start()
    with pytest.raises(UnknownSession, match="open the image again"):
        Steps(services).mask(session, "x")
    again = send(services, image())
    assert services.prompting.record(again).case_id == services.prompting.record(session).case_id
    services.prompting.images.wait_stored(services.prompting.record(again).case_id)
    assert np.array_equal(read_volume(file).voxels, image().voxels)
    assert not Steps(services).mask(session, "x").any()


def test_an_image_that_was_kept_as_a_case_stays_one_when_it_is_sent_again(start: Opener) -> None:
    services = start()
    session = send(services, image())
    Steps(services).add(session, "x", [Point(AT)])
    label, matched = services.sessions.submit(session, "liver")
    assert not matched
    send(services, image())
    assert services.cases.get(label.case_id).expires is None
    assert [row.case.id for row in services.cases.all()] == [label.case_id]


def test_sent_again_it_stays_for_longer(start: Opener) -> None:
    services = start()
    case_id = services.prompting.record(send(services, image())).case_id
    services.prompting.images.wait_stored(case_id)
    services.project.catalog.cases.set_expiry(case_id, 1e9)
    send(services, image())
    expires = services.cases.get(case_id).expires
    assert expires is not None
    assert expires > 1.5e9


def test_an_image_that_the_model_refuses_is_not_kept(start: Opener, tmp_path: Path) -> None:
    flat = Volume(np.full(SHAPE, 7, np.int16), Geometry(SHAPE, np.eye(4)))
    with pytest.raises(BadInput):
        send(start(), flat)
    for folder in ("uploads", "incoming", "sessions"):
        assert not list((tmp_path / "workspace" / folder).iterdir())


def test_no_click_is_answered_whose_image_could_not_be_kept(start: Opener, tmp_path: Path) -> None:
    services = start()
    uploads = tmp_path / "workspace" / "uploads"
    uploads.rmdir()
    uploads.write_text("no folder")  # as good as a full disk, and the same for root
    first, second = send(services, image()), send(services, image())
    for session in (first, second):
        with pytest.raises(OSError, match="open it again"):
            Steps(services).add(session, "x", [Point(AT)])
        assert services.sessions.get(session).steps == 0
    assert services.prompting.memory == (0, 0)  # what the log doesn't have is not in memory either
    assert not list((tmp_path / "workspace" / "incoming").iterdir())
    uploads.unlink()
    uploads.mkdir()
    assert Steps(services).add(send(services, image()), "x", [Point(AT)]).region is not None
    assert Steps(services).add(first, "x", [Point(AT)]).region is not None


def test_voxels_that_no_file_can_have_are_refused(start: Opener, tmp_path: Path) -> None:
    services = start()
    thin = (np.arange(40000) % 7).astype(np.int16).reshape(40000, 1, 1)
    with pytest.raises(BadFile):
        send(services, Volume(thin, Geometry((40000, 1, 1), np.eye(4))))
    assert services.prompting.memory == (0, 0)
    assert not list((tmp_path / "workspace" / "sessions").iterdir())
