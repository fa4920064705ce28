"""Tasks (docs/protocols/monailabel.md, section 9), with the job runner stopped: each test says how far a job is."""

from __future__ import annotations

import os
import time

import pytest

from app.core.job import Job
from tests.dialects.monailabel.site import Site, opened


@pytest.fixture
def site(fresh: Site) -> Site:
    fresh.services.jobs.runner.shutdown()
    return fresh


def begin(site: Site, kind: str = "train") -> Job:
    jobs = site.services.project.catalog.jobs
    job = jobs.listed(kind)[-1]
    jobs.started(job.id, os.getpid(), 0.0)
    return job


def end(site: Site, job: Job, state: str = "stopped", **result: object) -> None:
    site.services.project.catalog.jobs.finish(job.id, state, result)


class TestTraining:
    def test_from_start_to_stop(self, site: Site):
        client = site.client
        assert client.get("/train/").status_code == 404
        assert client.get("/train/?check_if_running=true").status_code == 404
        assert (client.delete("/train/").status_code, client.delete("/train/").json()) == (200, None)

        started = client.post("/train/untrained", json={"client_id": "anna", "max_epochs": 3, "name": "ignored"}).json()
        assert started["status"] == "SUBMITTED"
        assert started["request"]["model"] == "untrained"
        assert started["request"]["max_epochs"] == 3
        time.strptime(started["start_ts"], "%Y-%m-%d %H:%M:%S")
        assert client.get("/train/").json()["status"] == "RUNNING"  # it waits, and Slicer should go on watching

        job = begin(site)
        running = client.get("/train/?check_if_running=true")
        assert (running.status_code, running.json()["status"], running.json()["id"]) == (200, "RUNNING", started["id"])
        assert client.get("/train/").json()["status"] == "RUNNING"
        assert "end_ts" not in running.json()

        stopped = client.delete("/train/")
        assert stopped.status_code == 200
        assert stopped.json()["details"][-1]
        end(site, job)
        assert client.get("/train/?check_if_running=true").status_code == 404
        last = client.get("/train/").json()
        assert last["status"] == "STOPPED"
        assert last["end_ts"] >= last["start_ts"]

    @pytest.mark.parametrize("epochs", ["none", -1, 1.5, [3], True, "1e99", "nan"])
    def test_a_number_of_epochs_that_is_none_is_refused(self, site: Site, epochs):
        refused = site.client.post("/train/untrained", json={"max_epochs": epochs})
        assert refused.status_code == 400
        assert "max_epochs is a whole number" in refused.json()["detail"]
        assert site.client.get("/train/").status_code == 404
        assert site.client.get("/info/").status_code == 200

    def test_an_older_job_with_such_a_number_is_still_shown(self, site: Site):
        site.services.project.catalog.jobs.add("train", "untrained", {"max_epochs": "none"})
        assert site.client.get("/info/").json()["train_stats"]["untrained"]["total_epochs"] == 50

    def test_a_second_start_is_429(self, site: Site):
        assert site.client.post("/train/untrained", json={}).status_code == 200
        second = site.client.post("/train/untrained", json={})
        assert second.status_code == 429
        assert "already" in second.json()["detail"]

    def test_the_running_one_is_told_while_another_waits(self, site: Site):
        site.client.post("/train/untrained", json={})
        job = begin(site)
        assert site.client.post("/train/untrained", params={"enqueue": True}, json={}).json()["status"] == "SUBMITTED"
        assert site.client.get("/train/").json()["id"] == job.id
        assert [task["status"] for task in site.client.get("/train/?all=true").json()] == ["SUBMITTED", "RUNNING"]

    @pytest.mark.parametrize("body", [{}, {"untrained": {"max_epochs": 2}}])
    def test_ohif_starts_them_all(self, site: Site, body):
        answer = site.client.post("/train/", json=body)
        assert answer.status_code == 200
        assert answer.json()["untrained"]["detail"] is None
        assert answer.json()["untrained"]["result"]["status"] == "SUBMITTED"
        again = site.client.post("/train/", json=body).json()
        assert again["untrained"]["result"] is None
        assert "already" in again["untrained"]["detail"]

    @pytest.mark.parametrize(("state", "status"), [("done", "DONE"), ("failed", "ERROR"), ("stopped", "STOPPED")])
    def test_ends(self, site: Site, state, status):
        site.client.post("/train/untrained", json={})
        job = begin(site)
        end(site, job, state, epoch=3, total_epochs=3, best_metric=None, total_time="0:00:10")
        assert site.client.get("/train/").json()["status"] == status
        stats = site.client.get("/info/").json()["train_stats"]["untrained"]
        assert stats == {"epoch": 3, "total_epochs": 3, "total_time": "0:00:10"}

    def test_a_restart_is_not_noticed(self, tmp_path):
        with opened(tmp_path / "workspace") as site:
            site.services.jobs.runner.shutdown()
            site.client.post("/train/untrained", json={})
            end(site, begin(site), "done", epoch=1)
        with opened(tmp_path / "workspace") as site:
            assert site.client.get("/train/").json()["status"] == "DONE"

    def test_what_is_not_trained_here(self, site: Site):
        assert site.client.post("/train/clicks", json={}).status_code == 404


class TestOthers:
    def test_scoring(self, site: Site):
        assert site.client.get("/scoring/").status_code == 404
        task = site.client.post("/scoring/entropy_bands", json={}).json()
        assert task["status"] == "SUBMITTED"
        begin(site, "score")
        assert site.client.get("/scoring/?check_if_running=true").json()["id"] == task["id"]
        assert site.client.delete("/scoring/").json()["details"]
        assert site.client.post("/scoring/no-such", json={}).status_code == 404

    def test_scoring_with_everything(self, site: Site):
        answer = site.client.post("/scoring/", json={"entropy_bands": {}}).json()
        assert answer["entropy_bands"]["result"]["status"] == "SUBMITTED"

    def test_batch(self, site: Site):
        assert site.client.get("/batch/infer").status_code == 404
        task = site.client.post("/batch/infer/bands?images=unlabeled", json={"device": "cuda", "max_workers": 1}).json()
        assert task["request"]["images"] == "unlabeled"
        assert site.client.post("/batch/infer/bands?images=some", json={}).status_code == 400
        assert site.client.post("/batch/infer/clicks", json={}).status_code == 501
        assert site.client.delete("/batch/infer").json()["id"] == task["id"]
