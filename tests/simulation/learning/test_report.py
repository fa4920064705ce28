"""CSV, Markdown and picture; and the whole command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import cli
from app.cli.simulate_learning import seeds_of, source_of, strategies_of
from app.errors import BadFile, BadOption, UnknownStrategy
from app.settings import Settings
from app.simulation.learning import scenarios
from app.simulation.learning.report import draw, markdown
from app.simulation.learning.runs import append_csv, read_csv
from app.simulation.learning.statistics import curves_of
from tests.simulation.learning.tiny import TINY, run


def test_rounds_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "runs.csv"
    assert read_csv(file) == []
    first, second = run("a", 0, [0.1, 0.25]), run("b", 3, [1 / 3], shared=True)
    append_csv(first, file)
    append_csv(second, file)
    assert read_csv(file) == [*first, *second]
    with pytest.raises(BadFile, match="another folder"):
        append_csv([replace(one, by_structure={"femur": 1.0}) for one in first], file)
    file.write_text("a,b\n1,2\n")
    with pytest.raises(BadFile, match="simulated"):
        read_csv(file)


def test_the_table_has_what_was_measured_and_the_picture_is_one(tmp_path: Path) -> None:
    shown = [*run("patient_random", 0, [0.2, 0.4]), *run("patient_random", 1, [0.3, 0.5])]
    shown += [*run("entropy", 0, [0.2, 0.6], shared=True), *run("entropy", 1, [0.3, 0.7], shared=True)]
    curves = curves_of(shown)
    text = markdown(TINY, curves)
    assert "| patient_random | 2 | 0.350, 0.071 | - | 0.450 | - | 2.0 | 100 | 1.0 | 0 of 2 |" in text
    assert "| entropy | 2 | 0.450, 0.071 | +0.100 [+0.100, +0.100] | 0.650 | +0.200 [+0.200, +0.200] |" in text
    assert "| 2 of 2 |" in text
    assert "| entropy - patient_random | +0.100 [+0.100, +0.100] | 2/2 | better | +0.200 [+0.200, +0.200] |" in text
    assert "| entropy | 1 | 0.300 0.700 | 0.500 |" in text
    draw(TINY, curves, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(scenarios.SCENARIOS, "tiny", TINY)
    done = run("first", 0, [0.1, 0.2, 0.3])
    everywhere = dict.fromkeys(scenarios.STRUCTURES, 0.1)
    append_csv([replace(one, by_structure=everywhere) for one in done], tmp_path / "tiny.csv")
    call = ["simulate", "learning", "--scenario", "tiny", "--strategies", "first,last", "--seeds", "0"]
    result = CliRunner().invoke(cli, [*call, "--processes", "1", "--folder", str(tmp_path)])
    assert result.exit_code == 0, result.output
    found = read_csv(tmp_path / "tiny.csv")
    assert [one.dice for one in found if one.strategy == "first"] == [0.1, 0.2, 0.3]
    assert [one.labels for one in found if one.strategy == "last"] == [2, 4, 6]
    assert (tmp_path / "tiny.png").stat().st_size > 0
    assert "last - first" in (tmp_path / "tiny.md").read_text()


def test_what_may_be_given(tmp_path: Path) -> None:
    assert seeds_of("0,2,5-7") == [0, 2, 5, 6, 7]
    with pytest.raises(BadOption, match="0-9"):
        seeds_of("one")
    assert strategies_of("random, entropy") == ["random", "entropy"]
    with pytest.raises(UnknownStrategy, match="patient_random"):
        strategies_of("random,best")
    with pytest.raises(BadOption, match="own-cases"):
        source_of(scenarios.REDUNDANT, tmp_path, None, "", Settings(workspace=tmp_path))
