"""What the server says about itself, its models and its jobs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from app.core.job import Job
from app.core.model import ModelVersion
from tests.dialects.api.calls import API, get, post
from tests.dialects.monailabel.site import STRUCTURES, Site, opened

ANA = {"X-Segloop-User": "ana"}


def test_what_is_offered(site: Site) -> None:
    server = get(site, "/server")
    assert server["name"] == "Segloop"
    assert server["structures"] == STRUCTURES
    assert server["default_model"] == "clicks"
    assert server["progress"] == {"total": 3, "completed": 0}
    assert server["archive"]["problem"] == ""
    names = [strategy["name"] for strategy in server["strategies"]]
    assert server["default_strategy"] == names[0]
    assert {"random", "first"} <= set(names)
    models = {model["name"]: model for model in server["models"]}
    clicks = models["clicks"]
    assert clicks["kind"] == "interactive"
    assert clicks["accepts"] == ["point", "box", "scribble", "lasso", "mask"]
    assert clicks["options"] == {"radius": 2}
    assert (clicks["ready"], clicks["trainable"]) == (True, False)
    assert (models["bands"]["accepts"], models["bands"]["labels"]) == ([], STRUCTURES)
    assert (models["untrained"]["ready"], models["untrained"]["trainable"]) == (False, True)


def test_an_archives_password_is_not_shown(tmp_path: Path) -> None:
    with opened(tmp_path / "w", studies="http://me:secret@127.0.0.1:9/dicom-web") as site:
        assert get(site, "/server")["archive"]["address"] == "http://127.0.0.1:9/dicom-web"


def test_an_archive_that_is_away(fresh: Site) -> None:
    fresh.archive.available = False
    fresh.services.sync.run()
    assert "switched off" in get(fresh, "/server")["archive"]["problem"]


def test_the_device(site: Site) -> None:
    device = get(site, "/device")
    assert device["name"] == "cpu"
    assert device["precision"] in ("fp32", "bf16")
    assert (device["waiting"], device["sessions_open"], device["session_bytes"]) == (0, 0, 0)
    assert device["session_bytes_max"] == site.services.settings.sessions.max_bytes


def version(number: int, state: Any = "published") -> ModelVersion:
    return ModelVersion(
        id=f"untrained-{number}",
        model="untrained",
        number=number,
        parent=f"untrained-{number - 1}" if number > 1 else "",
        folder=f"untrained/{number}",
        sha256="0" * 64,
        state=state,
        reason="better" if state == "published" else "worse",
        metrics={"dice": {"mean": 0.5 + number / 10}},
        label_ids=(),
        licence="ours",
        job_id=f"job-{number}",
        created=1e9 + number,
    )


def test_versions_serving_and_going_back(fresh: Site) -> None:
    for number in (1, 2, 3):
        state = "rejected" if number == 3 else "published"
        fresh.services.project.catalog.versions.add(version(number, state), serve=number < 3, who="test")
    listed = get(fresh, "/models/untrained/versions")
    assert [(one["id"], one["state"], one["served"]) for one in listed] == [
        ("untrained-3", "rejected", False),
        ("untrained-2", "published", True),
        ("untrained-1", "published", False),
    ]
    assert listed[1]["metrics"] == {"dice": {"mean": 0.7}}
    assert listed[1]["created"] == "2001-09-09T01:46:42Z"
    assert post(fresh, "/models/untrained/serve", {"version": "untrained-3"}, headers=ANA)["served"]
    back = post(fresh, "/models/untrained/rollback", headers=ANA)
    assert (back["id"], back["served"]) == ("untrained-2", True)
    assert [one["served"] for one in get(fresh, "/models/untrained/versions")] == [False, True, False]
    post(fresh, "/models/untrained/rollback")
    assert "no earlier" in post(fresh, "/models/untrained/rollback", status=404)["detail"]


def test_versions_belong_to_their_model(fresh: Site) -> None:
    fresh.services.project.catalog.versions.add(version(1), serve=True, who="test")
    assert "bands" in post(fresh, "/models/bands/serve", {"version": "untrained-1"}, 404)["detail"]
    assert "nothing" in get(fresh, "/models/nothing/versions", 404)["detail"]
    assert get(fresh, "/models/bands/versions") == []


def ended(site: Site, job_id: str) -> Any:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        job = get(site, f"/jobs/{job_id}")
        if job["finished"]:
            return job
        time.sleep(0.1)
    raise AssertionError(f"{job_id} goes on and on")


def waiting_job(site: Site, **request: Any) -> Job:
    """A training run in the table, with nobody to do it."""
    site.services.jobs.runner.shutdown()
    return site.services.project.catalog.jobs.add("train", "untrained", request)


def test_a_job_that_cannot_be_done_says_why(tmp_path: Path) -> None:
    """Nothing is labelled, so there is nothing to learn from."""
    (tmp_path / "studies").mkdir()
    with opened(tmp_path / "workspace", studies=str(tmp_path / "studies")) as site:
        started = post(site, "/jobs", {"kind": "train", "model": "untrained", "options": {"max_epochs": 1}}, 201)
        assert (started["kind"], started["model"], started["progress"]) == ("train", "untrained", 0)
        job = ended(site, started["id"])
        assert job["state"] == "failed"
        assert "no final label" in job["message"]
        log = site.client.get(f"{API}/jobs/{job['id']}/log")
        assert log.headers["content-type"].startswith("text/plain")


def test_one_training_at_a_time(fresh: Site) -> None:
    waiting_job(fresh)
    told = post(fresh, "/jobs", {"kind": "train", "model": "untrained"}, 429)["detail"]
    assert "already running" in told


def test_a_jobs_course(fresh: Site) -> None:
    job = waiting_job(fresh)
    jobs = fresh.services.project.catalog.jobs
    jobs.started(job.id, 1, 1.0)
    jobs.note(job.id, "epoch", {"epoch": 1, "total": 4, "metrics": {"loss": 0.75}, "seconds": 2.5})
    jobs.note(job.id, "epoch", {"epoch": 2, "total": 4, "metrics": {"loss": 0.5, "dice": 0.25}, "seconds": 2.0})
    jobs.progress(job.id, 0.45)
    (found,) = get(fresh, "/jobs", params={"kind": "train"})
    assert (found["id"], found["state"], found["progress"]) == (job.id, "running", 0.45)
    assert found["epochs"] == [
        {"epoch": 1, "total": 4, "loss": 0.75, "dice": None, "seconds": 2.5},
        {"epoch": 2, "total": 4, "loss": 0.5, "dice": 0.25, "seconds": 2.0},
    ]
    assert found["created"] <= found["started"]
    assert found["finished"] is None
    assert get(fresh, "/jobs", params={"kind": "score"}) == []
    jobs.finish(job.id, "done", {"version": "untrained-1", "state": "published", "reason": "the first"})
    assert get(fresh, f"/jobs/{job.id}")["message"] == "untrained-1: published: the first"


def test_stopping_a_job(fresh: Site) -> None:
    job = waiting_job(fresh)
    answer = fresh.client.delete(f"{API}/jobs/{job.id}")
    assert (answer.status_code, answer.json()["state"]) == (202, "stopped")
    assert fresh.client.delete(f"{API}/jobs/{job.id}").json() == answer.json()
    assert fresh.client.delete(f"{API}/jobs/none").status_code == 404


def test_jobs_that_are_none(site: Site) -> None:
    assert "untrained" in post(site, "/jobs", {"kind": "train", "model": "clicks"}, 404)["detail"]
    assert "kind" in post(site, "/jobs", {"kind": "knit", "model": "clicks"}, 422)["detail"]
    assert "no scoring method" in post(site, "/jobs", {"kind": "score", "model": "clicks"}, 404)["detail"]
    assert site.client.get(f"{API}/jobs/none/log").status_code == 404
