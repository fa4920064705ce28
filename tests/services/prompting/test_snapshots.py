"""The snapshot file: what is read back, and what is never used."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.core.model import InteractiveSession
from app.core.prompt import Point, Scribble
from app.core.prompt import Region as Box
from app.core.volume import Geometry, Volume
from app.models.fake import FakeInteractive
from app.services.prompting import snapshots as module
from app.services.prompting.log import SessionLog, SessionRecord, Step, Viewer
from app.services.prompting.snapshots import Snapshots

SHAPE = (9, 20, 16)
RECORD = SessionRecord("secret", "ana", "case", "fake", "1", {}, Viewer("viewer", "ana"), SHAPE, True, 1.0)
STEPS = [
    Step("add", Point((4, 10, 8))),
    Step("add", Scribble(Box((6, 4, 5), (7, 6, 8)), np.ones((1, 2, 3), bool))),
    Step("add", Point((2, 3, 3))),
]


@pytest.fixture
def log(tmp_path: Path) -> SessionLog:
    return SessionLog(tmp_path)


def done(log: SessionLog, record: SessionRecord = RECORD, steps: list[Step] = STEPS) -> InteractiveSession:
    """A session that was logged."""
    volume = Volume(np.random.default_rng(0).random(SHAPE), Geometry(SHAPE, np.eye(4)))
    session = FakeInteractive().open(volume, {})
    log.create(record)
    for step in steps:
        assert step.prompt is not None
        session.add(step.prompt)
        log.append(record.id, step)
    return session


@pytest.fixture
def kept(log: SessionLog) -> Path:
    """The file of a snapshot after all steps."""
    session, snapshots = done(log), Snapshots(log)
    snapshots.keep(RECORD, session)
    snapshots.drain()
    return log.snapshot(RECORD.id)


def test_it_is_what_the_session_had(log: SessionLog) -> None:
    session, snapshots = done(log), Snapshots(log)
    snapshots.keep(RECORD, session)
    found = snapshots.newest(RECORD)
    assert found is not None
    assert (found.steps, found.version) == (3, "1")
    np.testing.assert_array_equal(found.mask, session.mask)
    other = FakeInteractive().open(Volume(np.random.default_rng(0).random(SHAPE), Geometry(SHAPE, np.eye(4))), {})
    other.restore(found.state, found.mask)
    assert other.undo() == session.undo()
    np.testing.assert_array_equal(other.mask, session.mask)


def test_nothing_is_left_beside_it(kept: Path) -> None:
    assert sorted(file.name for file in kept.parent.iterdir()) == ["log.jsonl", "session.json", "snapshot.bin"]


def test_it_is_used_when_the_log_went_on(log: SessionLog, kept: Path) -> None:
    log.append(RECORD.id, Step("add", Point((1, 1, 1))))
    found = Snapshots(log).newest(RECORD)
    assert found is not None
    assert found.steps == 3


def test_a_newer_one_replaces_it(log: SessionLog, kept: Path) -> None:
    session = done(log)  # the same steps once more
    snapshots = Snapshots(log)
    snapshots.keep(RECORD, session)
    found = snapshots.newest(RECORD)
    assert found is not None
    assert found.steps == 6


def test_no_byte_may_be_another(log: SessionLog, kept: Path) -> None:
    content = kept.read_bytes()
    for at in [*range(0, len(content), max(1, len(content) // 200)), len(content) - 1]:
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        kept.write_bytes(damaged)
        assert Snapshots(log).newest(RECORD) is None, at
    kept.write_bytes(content)
    assert Snapshots(log).newest(RECORD) is not None


def test_no_byte_may_be_missing_or_too_many(log: SessionLog, kept: Path) -> None:
    content = kept.read_bytes()
    for length in [0, 1, 19, 20, 27, len(content) // 2, len(content) - 33, len(content) - 1]:
        kept.write_bytes(content[:length])
        assert Snapshots(log).newest(RECORD) is None, length
    kept.write_bytes(content + b"\0")
    assert Snapshots(log).newest(RECORD) is None


def test_one_of_another_session_with_the_same_steps_is_not_used(log: SessionLog, kept: Path) -> None:
    other = replace(RECORD, id="another", case_id="another image")
    done(log, other)
    shutil.copy(kept, log.snapshot(other.id))
    assert Snapshots(log).newest(other) is None
    assert Snapshots(log).newest(RECORD) is not None


def test_one_of_a_log_that_went_another_way_is_not_used(log: SessionLog, kept: Path) -> None:
    file = kept.with_name("log.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], lines[2], lines[1]]))
    assert Snapshots(log).newest(RECORD) is None


def test_one_that_knows_more_than_the_log_is_not_used(log: SessionLog, kept: Path) -> None:
    file = kept.with_name("log.jsonl")
    content = file.read_bytes()
    for cut in (content[:-1], b"".join(content.splitlines(keepends=True)[:2]), b""):
        file.write_bytes(cut)
        assert Snapshots(log).newest(RECORD) is None


def test_one_that_is_too_large_is_not_kept(log: SessionLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    session, snapshots = done(log), Snapshots(log)
    snapshots.keep(RECORD, session)
    snapshots.drain()
    assert not log.snapshot(RECORD.id).exists()


def test_a_forgotten_session_does_not_come_back_with_it(log: SessionLog) -> None:
    session, snapshots = done(log), Snapshots(log)
    folder = log.snapshot(RECORD.id).parent
    log.remove(RECORD.id)
    snapshots.keep(RECORD, session)
    snapshots.drain()
    assert not folder.exists()


def test_a_kill_while_it_is_written_leaves_the_one_before(log: SessionLog, kept: Path) -> None:
    """What a kill leaves is the temporary file, whole or not."""
    kept.with_name("snapshot.bin.new").write_bytes(kept.read_bytes()[:100])
    assert Snapshots(log).newest(RECORD) is not None
    snapshots = Snapshots(log)
    snapshots.keep(RECORD, done(log))
    found = snapshots.newest(RECORD)
    assert found is not None
    assert found.steps == 6
