"""The client for programs against a real server on a socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pydantic import BaseModel

from app.client import Box, Client, InitialMask, Lasso, Point, Refused, Region, Scribble, shapes
from app.core.volume import Geometry, Volume
from app.errors import BadInput, Unavailable
from tests.live import FAKE, Live, serving
from tests.orthanc import free_port

ROOT = Path(__file__).parents[2]
SHAPE = (6, 9, 7)
AFFINE = np.array([[2.0, 0, 0, 5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
MODELS = {**FAKE, "bands": {"type": "fake_automatic"}, "liver": {"type": "segmentation", "trainer": "segmentation"}}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Cases come to tests by their own names: none minds what the others labelled."""
    values: dict[str, Any] = {"labels": {"structures": ["liver", "spleen"]}}
    with serving(tmp_path_factory.mktemp("w"), MODELS, **values) as one:  # type: ignore[arg-type]
        for number, name in enumerate(("head", "a?b", "chest", "knee", "hip")):
            voxels = np.random.default_rng(number).integers(0, 500, SHAPE, np.int16)
            one.services.project.archive.add_volume(name, Volume(voxels, Geometry(SHAPE, AFFINE)))
        one.services.sync.run()
        yield one


@pytest.fixture
def client(live: Live) -> Iterator[Client]:
    with Client(f"{live.url}/", user="Ána", program="a program") as one:
        yield one


def test_cases_and_where_they_lie(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.client.client.PAGE", 2)
    assert sorted(case.id for case in client.cases()) == ["a?b", "chest", "head", "hip", "knee"]
    assert [case.id for case in client.cases("kne")] == ["knee"]
    assert client.case("a?b").id == "a?b"
    geometry = client.geometry("a?b")
    assert geometry.shape == SHAPE
    assert np.array_equal(geometry.affine, AFFINE)
    offered = client.server()
    assert offered.structures == ["liver", "spleen"]
    assert {"clicks", "bands"} <= {model.name for model in offered.models}
    assert offered.progress.total == 5


def test_the_next_case_is_claimed_until_it_is_released(client: Client) -> None:
    first = client.next_case("first")
    assert first is not None
    again = client.next_case("first")
    assert again is not None
    assert again.case.id == first.case.id
    assert again.expires >= first.expires
    client.release(first.case.id)
    other = client.next_case("first")
    assert other is not None
    assert other.case.id != first.case.id
    client.release(other.case.id)


def test_prompts_change_the_mask_that_the_server_has(live: Live, client: Client) -> None:
    with client.open_session("head") as session:
        mask = session.add(Point((3, 4, 3)))
        assert mask.sum() == 5 * 5 * 5
        assert mask is session.mask
        region = Region((0, 0, 0), (1, 2, 3))
        drawn = np.ones(region.shape, bool)
        for prompt in (Point((3, 4, 3), include=False), Box(region), Scribble(region, drawn)):
            session.add(prompt)
        before = session.mask.copy()
        session.add(Lasso(region, drawn))
        own = next(one for one in client.sessions() if one.name == session.name)
        assert (own.who, own.client, own.steps, own.open) == ("Ána", "a program", 5, True)
        assert session.undo()
        assert np.array_equal(session.mask, before)
        session.reset()
        assert not session.mask.any()
        assert session.undo()
        assert np.array_equal(session.mask, before)
        assert session.redo()
        assert not session.mask.any()
        assert not session.redo()
        start = np.zeros(SHAPE, bool)
        start[1:3, 2:4, 2:4] = True
        assert np.array_equal(session.add(InitialMask(start)), start)
        label = session.submit("spleen", "a start")
        assert (label.author, label.client, label.structures, label.matched) == ("Ána", "a program", ["spleen"], True)
        stored = client.label_voxels(label.id)
        assert np.array_equal(stored.labelmap == stored.values["spleen"], start)
        assert session.start(label_id=label.id).sum() == start.sum()
    assert not client.session(session.name).open
    assert client.submit_session(session.name, "spleen").number in (1, 2)


def test_what_a_model_segments_can_be_started_from(client: Client) -> None:
    found = client.segment("chest", "bands")
    assert found.labelmap.shape == SHAPE
    name = next(iter(found.values))
    with client.open_session("chest") as session:
        session.start("bands", structure=name)
        assert np.array_equal(session.mask, found.labelmap == found.values[name])


def test_labels_made_elsewhere(client: Client) -> None:
    labelmap = np.zeros(SHAPE, np.uint8)
    labelmap[1:3, 2:5, 2:5] = 1
    label = client.submit_label("knee", labelmap, ["liver"], absent=["spleen"], comment="elsewhere")
    assert (label.number, label.author, label.comment) == (1, "Ána", "elsewhere")
    assert label.states == {"liver": "segmented", "spleen": "absent"}
    assert [one.id for one in client.labels("knee")] == [label.id]
    assert label.id in [one.id for one in client.labels(author="Ána")]
    assert np.array_equal(client.label_voxels(label.id).labelmap == 1, labelmap == 1)
    assert client.label_file(label.id)[:2] == b"\x1f\x8b"  # NIfTI, compressed


def test_jobs_and_versions(client: Client) -> None:
    assert client.versions("liver") == []
    with pytest.raises(Refused) as refused:
        client.serve("liver", "liver/7")
    assert refused.value.status == 404
    job = client.start_job("train", "liver")
    assert job.id in [one.id for one in client.jobs("train")]
    client.stop_job(job.id)
    assert client.wait_for_job(job.id).ended


def test_events_as_they_happen_and_those_that_were_missed(client: Client) -> None:
    events = client.events()
    first = next(event for event in events if event.kind == "progress")
    assert first.data["total"] == 5
    labelmap = np.zeros(SHAPE, np.uint8)
    labelmap[1, 2, 3] = 1
    label = client.submit_label("hip", labelmap, ["liver"])
    heard = next(event for event in events if event.kind == "label" and event.data["case_id"] == "hip")
    assert heard.data["id"] == label.id
    missed = next(event for event in client.events(since=first.id) if event.kind == "label")
    assert missed.data["id"] <= label.id


def test_what_the_server_refuses_is_told_in_its_words(client: Client) -> None:
    with pytest.raises(Refused, match="nowhere") as refused:
        client.case("nowhere")
    assert refused.value.status == 404
    with pytest.raises(Refused, match="Did you mean liver"):
        client.submit_label("head", np.ones(SHAPE, np.uint8), ["livr"])


def test_a_server_that_is_none(live: Live) -> None:
    for address in ("127.0.0.1:1", "ftp://127.0.0.1", "http://[", ""):
        with pytest.raises(BadInput, match=r"address|URL"):
            Client(address)
    with Client(f"http://127.0.0.1:{free_port()}") as nobody, pytest.raises(Unavailable, match="no server answers"):
        nobody.server()
    with Client(f"{live.url}/elsewhere") as other, pytest.raises((Unavailable, Refused)):
        other.server()


def test_the_token_goes_with_every_request(tmp_path: Path) -> None:
    with serving(tmp_path, FAKE, token="s3cret") as live:
        with Client(live.url) as stranger, pytest.raises(Refused) as refused:
            stranger.server()
        assert refused.value.status == 401
        for client in (Client(live.url, "s3cret"), Client(f"{live.url}/t/s3cret")):
            with client:
                assert client.server().models[0].name == "clicks"


SHAPES = {
    "CaseShape": shapes.Case,
    "CasePage": shapes.Page,
    "NextShape": shapes.Offer,
    "GeometryShape": shapes.Grid,
    "ServerShape": shapes.ServerInfo,
    "ModelShape": shapes.Model,
    "SessionShape": shapes.OpenedSession,
    "SessionRow": shapes.Session,
    "LabelShape": shapes.LabelVersion,
    "SubmittedShape": shapes.SubmittedLabel,
    "JobShape": shapes.Job,
    "VersionShape": shapes.Version,
    "ExportShape": shapes.Export,
    "ChangeShape": shapes.Change,
    "UndoShape": shapes.Undone,
    "RedoShape": shapes.Redone,
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_server_says_that_it_sends_what_the_client_reads(name: str, live: Live) -> None:
    described = httpx.get(f"{live.url}/openapi.json").json()["components"]["schemas"][name]
    expected: type[BaseModel] = SHAPES[name]
    needed = {field for field, info in expected.model_fields.items() if info.is_required()}
    assert needed <= set(described["required"])
    assert set(expected.model_fields) <= set(described["properties"])


def test_the_example_of_the_guide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (ROOT / "docs" / "client.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    with serving(tmp_path, FAKE, labels={"structures": ["liver"]}) as live:
        voxels = np.random.default_rng(0).integers(0, 500, SHAPE, np.int16)
        live.services.project.archive.add_volume("head", Volume(voxels, Geometry(SHAPE, AFFINE)))
        live.services.sync.run()
        exec(compile(example.replace("http://127.0.0.1:8000", live.url), "docs/client.md", "exec"), {})
    clicked, stored = capsys.readouterr().out.splitlines()
    assert clicked.endswith("voxels")
    assert stored == "2 ana 18"


def test_every_method_is_in_the_guide() -> None:
    guide = (ROOT / "docs" / "client.md").read_text()
    public = {name for name in vars(Client) if not name.startswith("_")} - {"close"}
    assert {name for name in public if f"`{name}`" not in guide} == set()
