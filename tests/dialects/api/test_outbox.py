"""Labels on their way to the archive: what is told about them, and asking for another try."""

from __future__ import annotations

import numpy as np

from app.archives.outbox import OutboxWorker
from app.core.label import Submission
from app.core.mask import Mask
from tests.dialects.api.calls import API, get, post
from tests.dialects.monailabel.site import SHAPE, Site

PLACE = "final/case 07/v0001"
"""Where the archive in memory keeps the first final label of the case."""


def labelled(site: Site, tag: str = "final") -> int:
    geometry = site.truth["case 07"].geometry
    mask = Mask.single(np.ones(SHAPE, np.uint8), ["liver"], geometry)
    return site.services.labels.submit_mask("case 07", mask, Submission("ana", "test", tag)).id


def rounds(site: Site, count: int = 1) -> None:
    """The outbox goes its rounds; the clock, which does the same every few seconds, must not come in between."""
    project = site.services.project
    for _ in range(count):
        OutboxWorker(project.catalog, project.labels, project.archive_of).deliver_due()


def test_nothing_is_on_its_way(fresh: Site) -> None:
    assert get(fresh, "/outbox") == {"waiting": 0, "refused": 0, "oldest": None, "problems": []}


def test_a_refused_label_says_why_and_what_to_do_and_goes_when_it_is_told_to(fresh: Site) -> None:
    fresh.services.clock.shutdown()
    fresh.archive.labels[PLACE] = b"somebody else's"
    label_id = labelled(fresh)
    rounds(fresh, 3)
    outbox = get(fresh, "/outbox")
    assert (outbox["waiting"], outbox["refused"], outbox["oldest"]) == (0, 1, None)
    (problem,) = outbox["problems"]
    assert (problem["label_id"], problem["state"], problem["tries"]) == (label_id, "refused", 1)
    assert problem["next"] is None
    assert "another label is stored" in problem["error"]
    assert "then retry" in problem["advice"]
    assert get(fresh, "/cases/case 07/labels")[0]["delivered"] is False
    assert fresh.client.get(f"{API}/labels/{label_id}/file").status_code == 200
    assert fresh.client.get("/readyz").json()["outbox"]["refused"] == 1
    again = post(fresh, f"/outbox/{label_id}/retry")
    assert (again["state"], again["advice"]) == ("waiting", "")
    rounds(fresh)
    assert get(fresh, "/outbox")["problems"][0]["tries"] == 2  # the other label is still there
    fresh.archive.labels.clear()
    assert post(fresh, "/outbox/retry") == {"retried": 1}
    rounds(fresh)
    assert get(fresh, "/outbox") == {"waiting": 0, "refused": 0, "oldest": None, "problems": []}
    assert get(fresh, "/cases/case 07/labels")[0]["delivered"] is True
    assert list(fresh.archive.labels) == [PLACE]


def test_a_label_that_waits_can_be_sent_at_once(fresh: Site) -> None:
    fresh.services.clock.shutdown()
    fresh.services.cases.volume("case 07")
    fresh.archive.available = False
    label_id = labelled(fresh)
    rounds(fresh)
    (problem,) = get(fresh, "/outbox")["problems"]
    assert (problem["state"], problem["advice"]) == ("waiting", "")
    assert problem["next"] is not None
    fresh.archive.available = True
    post(fresh, f"/outbox/{label_id}/retry")
    rounds(fresh)
    assert get(fresh, "/outbox")["waiting"] == 0


def test_labels_that_nobody_sends(fresh: Site) -> None:
    fresh.services.clock.shutdown()
    stays, goes = labelled(fresh, "draft"), labelled(fresh)
    rounds(fresh)
    assert "goes to the archive" in post(fresh, f"/outbox/{stays}/retry", status=404)["detail"]
    assert "already" in post(fresh, f"/outbox/{goes}/retry", status=409)["detail"]
    assert post(fresh, "/outbox/99/retry", status=404)
    assert post(fresh, "/outbox/retry") == {"retried": 0}
