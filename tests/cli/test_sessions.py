"""`segloop sessions`, as a program of its own against a real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.prompt import Point
from app.core.volume import Geometry, Volume
from app.services.prompting.images import SentImage
from app.services.prompting.log import Viewer
from tests.live import FAKE, Live, serving
from tests.orthanc import free_port
from tests.prompting import Steps

SHAPE = (6, 9, 7)
POINT = {"type": "point", "at": [3, 4, 3]}


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with serving(tmp_path / "w", FAKE, labels={"structures": ["liver", "spleen"]}) as one:
        one.services.project.archive.add_volume("head", Volume(voxels(), Geometry(SHAPE, np.eye(4))))
        one.services.sync.run()
        yield one


def voxels() -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(0, 500, SHAPE, np.int16)


def segloop(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEGLOOP_")}
    command = [sys.executable, "-m", "app.cli", "sessions", *arguments]
    surroundings = {**clean, "COLUMNS": "250", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=surroundings)


def opened(live: Live, who: str = "ana") -> str:
    """A session in which something was segmented; its name."""
    headers = {"X-Segloop-User": who}
    session = httpx.post(f"{live.url}/api/v1/sessions", json={"case_id": "head"}, headers=headers).json()
    answer = httpx.post(f"{live.url}/api/v1/sessions/{session['id']}/prompts", json={"prompts": [POINT]})
    assert answer.status_code == 200
    return str(session["name"])


def test_sessions_from_the_list_to_a_label(live: Live) -> None:
    name = opened(live)
    listed = segloop("list", "--server", live.url)
    assert listed.returncode == 0, listed.stderr
    row = next(line for line in listed.stdout.splitlines() if name in line)
    assert "ana" in row
    assert "head" in row
    assert row.split()[-1] == "1"  # one step, no label
    done = segloop("submit", name, "--structure", "spleen", "--comment", "looks right", "--server", f"{live.url}/")
    assert done.returncode == 0, done.stderr
    assert "spleen of head, version 1" in done.stdout
    (label,) = live.services.labels.history("head")
    assert (label.author, label.client, label.comment) == ("ana", "browser", "looks right")
    assert [segment.name for segment in label.segments] == ["spleen"]
    assert live.services.labels.mask(label).labelmap().sum() == 5 * 5 * 5
    shown = segloop("show", name, "--server", live.url).stdout
    facts = dict(line.split(maxsplit=1) for line in shown.splitlines() if line.startswith(("label", "who", "steps")))
    assert {key: value.strip() for key, value in facts.items()} == {"label": str(label.id), "who": "ana", "steps": "1"}


def test_a_sent_image_that_the_archive_has_is_found(live: Live) -> None:
    """ITK-SNAP and others send voxels without a name."""
    prompting = live.services.prompting
    image = Volume(np.flip(voxels(), 0).copy(), Geometry(SHAPE, np.eye(4)))
    session = prompting.open("itksnap:1", SentImage(image, placed=False), "clicks", {}, Viewer("ITK-SNAP", "bo"))
    Steps(live.services).add(session, "itksnap:1", [Point((0, 0, 0))])
    name = prompting.record(session).name
    assert "not known yet" in segloop("show", name, "--server", live.url).stdout
    assert "liver of head, version 1" in segloop("submit", name, "--structure", "liver", "--server", live.url).stdout
    (label,) = live.services.labels.history("head")
    found = live.services.labels.mask(label).labelmap()
    assert found[-3:, :3, :3].all()
    assert found.sum() == 27


def test_no_guess_about_the_structure(live: Live) -> None:
    name = opened(live)
    for structure, told in (("", "This project's structures: liver, spleen"), ("splen", "Did you mean spleen?")):
        ended = segloop("submit", name, "--structure", structure, "--server", live.url)
        assert ended.returncode == 1
        assert told in " ".join(ended.stderr.split())
    assert live.services.labels.history("head") == []


def test_a_table_fits_a_hundred_columns(live: Live) -> None:
    opened(live, who=quote("a very long name of a person " * 5))
    opened(live, who="[bold]x")
    listed = segloop("list", "--server", live.url).stdout
    assert max(len(line) for line in listed.splitlines()) <= 100
    assert "[bold]x" in listed


def test_no_sessions(live: Live) -> None:
    assert segloop("list", "--server", live.url).stdout == "there are no sessions\n"


@pytest.mark.parametrize("name", ["nonsense", "../server", "a/b", "?", ""])
def test_a_session_that_is_none(live: Live, name: str) -> None:
    for verb in ("show", "submit"):
        ended = segloop(verb, name, "--server", live.url)
        assert ended.returncode == 1
        assert "there is no session" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_nothing_segmented(live: Live) -> None:
    session = httpx.post(f"{live.url}/api/v1/sessions", json={"case_id": "head"}).json()
    ended = segloop("submit", session["name"], "--server", live.url)
    assert (ended.returncode, "nothing is segmented" in ended.stderr) == (1, True)


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}", "ftp://127.0.0.1", "127.0.0.1:1", "http://["])
def test_no_server(address: str) -> None:
    ended = segloop("list", "--server", address.format(port=free_port()))
    assert ended.returncode == 1
    assert ended.stderr.startswith("segloop: ")
    assert "Traceback" not in ended.stderr


def test_a_server_that_asks_for_a_token(tmp_path: Path) -> None:
    with serving(tmp_path / "w", FAKE, token="open sesame") as live:
        refused = segloop("list", "--server", live.url)
        assert (refused.returncode, "--token" in refused.stderr) == (1, True)
        assert segloop("list", "--server", live.url, "--token", "open sesame").returncode == 0
        assert segloop("list", "--server", live.url, SEGLOOP_TOKEN="open sesame").returncode == 0
        (tmp_path / "c.yaml").write_text("token: open sesame\n")
        assert segloop("list", "--server", live.url, "--config", str(tmp_path / "c.yaml")).returncode == 0
