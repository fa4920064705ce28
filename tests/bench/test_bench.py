"""The benchmarks run and show a table. What they measure is no matter of tests."""

from __future__ import annotations

import pytest

from app.core.volume import Geometry
from bench import __main__ as command
from bench.data import blobs, mask
from bench.measure import Contender, Timing, interleave
from bench.report import added, at_most, ratio, speedup
from tests.orthanc import missing


@pytest.mark.orthanc
@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_named_benchmarks_run_and_come_out_as_a_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "QUICK_SHAPE", (8, 48, 48))
    assert command.main(["--quick", "--repeats", "1", "fetch", "again", "seg"]) == 0
    shown = capsys.readouterr().out
    assert "download and decode" in shown
    assert "write 5 segments" in shown
    assert "at most 700 MB" in shown


def test_a_benchmark_that_fails_is_shown_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.seg.run", lambda plan: 1 / 0)
    assert command.main(["--quick", "seg"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_an_unknown_name_is_bad_usage() -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["nothing"])
    assert stopped.value.code == 2


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    contenders = {name: Contender(lambda name=name: order.append(name)) for name in "ab"}
    times = interleave(contenders, 2)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert [len(timing.seconds) for timing in times.values()] == [2, 2]


def test_targets_are_met_or_missed() -> None:
    fast, slow = Timing((1.0, 1.0, 9.0)), Timing((4.0, 4.0, 4.0))
    assert ratio("b", "w", slow, "p", fast, 1.2).met is False
    assert speedup("b", "w", fast, "p", slow, 3.5).met is True
    assert at_most("b", "w", fast, 2.0).met is True
    assert at_most("b", "w", fast, 2.0, met=False).met is False
    # In pairs, 3 s more twice and 5 s less once: the median pair counts.
    assert added("b", "w", slow, "p", fast, 2.0).met is False
    assert added("b", "w", slow, "p", fast, 3.0).met is True


@pytest.mark.parametrize("count", [1, 5, 30, 104])
def test_blobs_have_every_segment(count: int) -> None:
    shape = (60, 128, 128)
    labelmap = blobs(shape, count)
    made = mask(labelmap, count, Geometry(shape, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    assert all(made.voxels_of(segment.number).any() for segment in made.segments)
