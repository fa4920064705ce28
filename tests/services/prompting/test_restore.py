"""Sessions that come back with hardly a prediction, as if they had never been away."""

from __future__ import annotations

import numpy as np
import pytest

from tests.prompting import Steps
from tests.services.two_models import STROKE, Opener, clicks, mask, opened, publish, without_snapshots

BOTH = pytest.mark.parametrize("model", ["grower", "tiny"])


@BOTH
@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "log alone"])
def test_forty_prompts_come_back(start_two: Opener, predictions: list[str], model: str, snapshot: bool) -> None:
    """The same prompts in a session that stays in memory are the known value, for what comes after too."""
    services = start_two()
    prompts, after = clicks(40), [STROKE, *clicks(2, seed=9)] if model == "tiny" else clicks(3, seed=9)
    session = opened(services, model, prompts)
    before = mask(services, session)
    services = start_two()
    if not snapshot:
        without_snapshots(services)
    predictions.clear()
    np.testing.assert_array_equal(mask(services, session), before)
    assert len(predictions) == (0 if snapshot else 40)

    still = opened(services, model, prompts, "bo")
    assert Steps(services).undo(session, "ana").region == Steps(services).undo(still, "bo").region  # type: ignore[union-attr]
    assert Steps(services).undo(session, "ana") is None
    seen = []
    for prompt in after:
        changes = [Steps(services).add(one, who, [prompt]) for one, who in ((session, "ana"), (still, "bo"))]
        assert changes[0].region == changes[1].region
        seen.append(mask(services, session))
        np.testing.assert_array_equal(seen[-1], mask(services, still, "bo"))
    assert len({one.tobytes() for one in seen}) > 1


@BOTH
def test_after_a_kill_only_what_came_after_the_last_rest_is_predicted(
    start_two: Opener, predictions: list[str], model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = start_two()
    session = opened(services, model, clicks(10))
    services.prompting.snapshot_idle()  # somebody is at work: nothing yet
    services.prompting.snapshots.wait_written(session)
    assert not list(services.project.paths.sessions.glob("*/snapshot.bin"))
    monkeypatch.setattr("app.services.prompting.service.SNAPSHOT_IDLE_SECONDS", 0.0)
    services.prompting.snapshot_idle()
    services.prompting.snapshots.wait_written(session)
    (file,) = services.project.paths.sessions.glob("*/snapshot.bin")
    resting = file.read_bytes()
    Steps(services).add(session, "ana", clicks(2, seed=5))
    expected = mask(services, session)
    services = start_two()
    file.write_bytes(resting)  # as if the end had not been an orderly one
    predictions.clear()
    np.testing.assert_array_equal(mask(services, session), expected)
    assert len(predictions) == 2


@pytest.mark.parametrize("snapshot", [True, False], ids=["snapshot", "log alone"])
def test_a_session_keeps_its_weights_when_others_are_published(start_two: Opener, snapshot: bool) -> None:
    services = start_two()
    session, still = (opened(services, "grower", clicks(4), who) for who in ("ana", "bo"))
    Steps(services).add(still, "bo", clicks(1, seed=7))
    before, after = mask(services, session), mask(services, still, "bo")
    publish(services, 2)
    services = start_two()
    assert services.models.version("grower") == "2"
    if not snapshot:
        without_snapshots(services)
    np.testing.assert_array_equal(mask(services, session), before)
    Steps(services).add(session, "ana", clicks(1, seed=7))
    np.testing.assert_array_equal(mask(services, session), after)
    new = opened(services, "grower", clicks(4), "cy")
    assert services.prompting.record(new).model_version == "2"
    assert (mask(services, new, "cy") != before).any()
    labels = [services.sessions.submit(one, "liver")[0] for one in (session, new)]
    assert [label.model_version for label in labels] == [services.prompting.record(session).model_version, "2"]
    assert labels[0].model_version != "2"


@BOTH
def test_what_was_closed_is_submitted_without_predicting(start_two: Opener, predictions: list[str], model: str) -> None:
    services = start_two()
    session = opened(services, model, clicks(5))
    expected = mask(services, session)
    services.prompting.close(session, "ana")
    predictions.clear()
    label, _ = services.sessions.submit(session, "liver")
    assert predictions == []
    np.testing.assert_array_equal(services.labels.mask(label).labelmap() > 0, expected > 0)


def test_of_a_forgotten_session_nothing_is_left(start_two: Opener) -> None:
    services = start_two()
    session = opened(services, "tiny", clicks(2))
    services.sessions.forget(session)
    services.prompting.snapshots.drain()
    assert not list(services.project.paths.sessions.iterdir())
