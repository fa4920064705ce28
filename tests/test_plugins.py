"""Plugins are found by file and by entry point; a broken one harms nobody."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app import plugins
from app.errors import BadOption, ConfigurationError

FILES = {
    "__init__": "",
    "good": """
        from dataclasses import dataclass
        @dataclass(frozen=True)
        class Good:
            '''Does good.

            And more.
            '''
            model: str
            share: float = 0.5
            count: int = 3
            name: str = "x"
            on: bool = False
        """,
    "broken": "import nothing_that_exists",
    "two": "class A: pass\nclass B: pass",
    "plain": "class Plain: pass",
    "needs": "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Needs:\n    size: int",
    "_helper": "raise RuntimeError('a helper is no plugin')",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    import textwrap

    folder = tmp_path / "some_plugins"
    folder.mkdir()
    for name, source in FILES.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "some_plugins"
    for name in [name for name in sys.modules if name.startswith("some_plugins")]:
        del sys.modules[name]


def test_found_and_broken(package: str) -> None:
    result = plugins.find(package, "segloop.nothing")
    assert list(result.found) == ["good"]
    good = result.found["good"]
    assert good.description == "Does good."
    assert dict(good.options) == {"model": "", "share": 0.5, "count": 3, "name": "x", "on": False}
    problems = {one.name: one.problem for one in result.broken}
    assert set(problems) == {"broken", "two", "plain", "needs"}
    assert "nothing_that_exists" in problems["broken"]
    assert "Traceback" in problems["broken"]
    assert "exactly one public class" in problems["two"]
    assert "dataclass" in problems["plain"]
    assert "size" in problems["needs"]


def test_create_takes_what_it_knows(package: str) -> None:
    good = plugins.find(package, "segloop.nothing").found["good"]
    made = good.create({"model": "m", "share": 1, "count": 4.0, "unknown": "ignored"})
    assert (made.model, made.share, made.count, made.name) == ("m", 1.0, 4, "x")
    for wrong in ({"share": "much"}, {"count": 1.5}, {"on": 1}, {"name": 7}):
        with pytest.raises(BadOption):
            good.create({"model": "m", **wrong})
    with pytest.raises(BadOption, match="model"):
        good.create({})


def test_entry_points(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Theirs:
        """From another package."""

    class Point:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> type:
            return Theirs

    monkeypatch.setattr(plugins, "entry_points", lambda group: [Point("theirs"), Point("good")])
    result = plugins.find(package, "segloop.strategies")
    assert set(result.found) == {"good", "theirs"}
    assert result.found["theirs"].description == "From another package."
    assert any(one.name == "good" and "already" in one.problem for one in result.broken)


@dataclass(frozen=True)
class Dish:
    """Something to declare."""

    name: str


DISHES = {
    "__init__": "",
    "soups.__init__": "",
    "soups.lentil": "from tests.test_plugins import Dish\nLENTIL = Dish('lentil')\nPEA = Dish('pea')",
    "burnt": "from tests.test_plugins import Dish\nimport nothing_that_exists\nBURNT = Dish('burnt')",
    "again": "from tests.test_plugins import Dish\nAGAIN = Dish('lentil')",
    "plain": "raise RuntimeError('declares nothing, so nobody imports it')",
}


def test_declarations_are_found_in_packages_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in DISHES.items():
        file = tmp_path / "menu" / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    menu = plugins.Registry(Dish, "dish", "menu", "segloop.nothing")
    assert menu.names() == ["lentil", "pea"]
    assert menu.get("pea") == Dish("pea")
    problems = {one.name: one.reason for one in menu.find().broken}
    assert set(problems) == {"menu.burnt", "menu.soups.lentil"}
    assert "nothing_that_exists" in problems["menu.burnt"]
    with pytest.raises(ConfigurationError, match=r"no dish 'burnt'; there are: lentil, pea; menu.burnt is broken"):
        menu.get("burnt")


def test_what_ships() -> None:
    shipped = plugins.strategies()
    assert shipped.broken == ()
    assert set(shipped.found) == {"entropy", "epistemic", "first", "last", "patient_random", "random", "review"}
