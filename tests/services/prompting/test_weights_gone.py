"""Sessions whose weights, or whose program, are no longer here: their mask stays what it was, or they stay away."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

from app.errors import UnknownSession
from tests.models.folders import tiny_nninteractive
from tests.prompting import Steps
from tests.services.two_models import Opener, clicks, mask, opened, publish, without_snapshots


class TestWeightsThatAreGone:
    """The folder of the model is another one now, and nobody kept the old one."""

    @pytest.fixture
    def session(self, start_two: Opener) -> str:
        services = start_two()
        session = opened(services, "tiny", clicks(5))
        self.before = mask(services, session)
        assert self.before.any()
        services.stop()
        return session

    @pytest.fixture
    def replaced(self, session: str, weights: Path) -> Path:
        """Where the old weights are now."""
        old = weights.rename(weights.with_name("old"))
        tiny_nninteractive(weights, seed=5)
        return old

    def test_the_mask_of_the_snapshot_is_where_it_goes_on(
        self, start_two: Opener, session: str, replaced: Path, predictions: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        services = start_two()
        predictions.clear()
        np.testing.assert_array_equal(mask(services, session), self.before)
        assert predictions == []
        assert "goes on with version" in caplog.text
        assert Steps(services).undo(session, "ana") is None
        Steps(services).add(session, "ana", clicks(1, seed=7))
        after = mask(services, session)
        assert (after != self.before).any()
        Steps(services).undo(session, "ana")
        np.testing.assert_array_equal(mask(services, session), self.before)
        Steps(services).add(session, "ana", clicks(1, seed=7))
        services = start_two()
        without_snapshots(services)  # its log alone knows the new weights and the mask it went on from
        np.testing.assert_array_equal(mask(services, session), after)
        Steps(services).undo(session, "ana")
        np.testing.assert_array_equal(mask(services, session), self.before)

    def test_without_a_snapshot_it_stays_away_until_the_weights_are_back(
        self, start_two: Opener, session: str, replaced: Path, weights: Path
    ) -> None:
        services = start_two()
        without_snapshots(services)
        with pytest.raises(UnknownSession, match="weights that made this session's mask"):
            Steps(services).mask(session, "ana")
        services.stop()
        shutil.rmtree(weights)
        replaced.rename(weights)
        np.testing.assert_array_equal(mask(start_two(), session), self.before)

    def test_a_snapshot_that_does_not_know_the_last_step_is_no_mask_to_go_on_from(
        self, start_two: Opener, session: str, weights: Path, tmp_path: Path
    ) -> None:
        (file,) = (tmp_path / "workspace" / "sessions").glob("*/snapshot.bin")
        earlier = file.read_bytes()
        services = start_two()
        Steps(services).add(session, "ana", clicks(1, seed=7))
        services.stop()
        file.write_bytes(earlier)
        shutil.rmtree(weights)
        tiny_nninteractive(weights, seed=5)
        with pytest.raises(UnknownSession):
            Steps(start_two()).mask(session, "ana")

    def test_where_nothing_is_drawn_there_is_nothing_to_lose(self, start_two: Opener, weights: Path) -> None:
        services = start_two()
        session = opened(services, "tiny", clicks(2))
        Steps(services).reset(session, "ana")
        services.stop()
        shutil.rmtree(weights)
        tiny_nninteractive(weights, seed=5)
        services = start_two()
        without_snapshots(services)
        assert not mask(services, session).any()
        Steps(services).add(session, "ana", clicks(3))
        expected = mask(services, session)
        np.testing.assert_array_equal(mask(start_two(), session), expected)


def test_another_version_of_the_library_goes_on_from_the_mask(
    start_two: Opener, predictions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    services = start_two()
    session = opened(services, "tiny", clicks(5))
    before = mask(services, session)
    services.stop()
    monkeypatch.setattr(nnInteractiveInferenceSession, "INFERENCE_SESSION_VERSION", "2.6.99")
    services = start_two()
    predictions.clear()
    np.testing.assert_array_equal(mask(services, session), before)
    assert predictions == []


def test_weights_that_are_damaged_are_gone(start_two: Opener) -> None:
    services = start_two()
    session = opened(services, "grower", clicks(4))
    before = mask(services, session)
    publish(services, 2)
    file = services.project.paths.models / "grower" / "1" / "weights.pt"
    services.stop()
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    services = start_two()
    np.testing.assert_array_equal(mask(services, session), before)
    assert Steps(services).undo(session, "ana") is None
    without_snapshots(services)
    np.testing.assert_array_equal(mask(start_two(), session), before)
