"""Finding strategies and trainers: one public class per file, the file's stem is the public name.

Looked for in the packages `strategies` and `trainers` that come with the server, and in what other installed packages
offer under the entry points `segloop.strategies` and `segloop.trainers`. A plugin that can't be imported is listed as
broken, with its traceback, and nothing else suffers.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from app.core.model import Option
from app.errors import BadOption


@dataclass(frozen=True)
class Plugin:
    """A strategy or trainer that can be made. `options` are the fields of its class with their defaults; a field
    `model`, which says that it serves each model separately, may be without one and is "" here."""

    name: str
    factory: Callable[..., Any]
    description: str
    options: Mapping[str, Option]

    def create(self, given: Mapping[str, object]) -> Any:
        """Make one with those of the `given` options that it has; the others are somebody else's.

        Raises:
            BadOption: a value's type is not that of the default, or the class refuses the value.
        """
        values = {
            name: _typed(f"{self.name}.{name}", given[name], default)
            for name, default in self.options.items()
            if name in given
        }
        try:
            return self.factory(**values)
        except (TypeError, ValueError) as error:
            raise BadOption(f"{self.name}: {error}") from error


@dataclass(frozen=True)
class Broken:
    """A plugin that can't be used, with the reason or the traceback."""

    name: str
    problem: str


@dataclass(frozen=True)
class Plugins:
    """What was found, by public name."""

    found: Mapping[str, Plugin]
    broken: tuple[Broken, ...]


def strategies() -> Plugins:
    return find("strategies", "segloop.strategies")


def trainers() -> Plugins:
    return find("trainers", "segloop.trainers")


def find(package: str, group: str) -> Plugins:
    """Look through a package and an entry point group. Files whose name starts with `_` are no plugins."""
    found: dict[str, Plugin] = {}
    broken: list[Broken] = []
    for name, load in [*_files(package), *_entry_points(group)]:
        try:
            if name in found:
                raise TypeError(f"there is a plugin {name} already")
            found[name] = _plugin(name, load())
        except Exception:  # whatever a stranger's file raises while it is imported
            broken.append(Broken(name, traceback.format_exc()))
    return Plugins(found, tuple(broken))


def _files(package: str) -> list[tuple[str, Callable[[], type]]]:
    paths = importlib.import_module(package).__path__
    names = sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_"))
    return [(name, lambda name=name: _only_class(f"{package}.{name}")) for name in names]  # type: ignore[misc]


def _entry_points(group: str) -> list[tuple[str, Callable[[], type]]]:
    return [(point.name, point.load) for point in entry_points(group=group)]


def _only_class(module_name: str) -> type:
    module = importlib.import_module(module_name)
    classes = [
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module_name and not name.startswith("_")
    ]
    if len(classes) != 1:
        raise TypeError(f"{module_name} should have exactly one public class, not {len(classes)}")
    return classes[0]


def _plugin(name: str, factory: type) -> Plugin:
    if not dataclasses.is_dataclass(factory):
        raise TypeError(f"{factory.__qualname__} should be a frozen dataclass of its options")
    options: dict[str, Option] = {}
    for field in dataclasses.fields(factory):
        default = "" if field.name == "model" else _default(field)
        if default is None:
            raise TypeError(f"the option {field.name} of {factory.__qualname__} has no default")
        options[field.name] = default
    description = (inspect.getdoc(factory) or name).splitlines()[0]
    return Plugin(name, factory, description, options)


def _default(field: dataclasses.Field[Any]) -> Option | None:
    if field.default is not dataclasses.MISSING:
        default: Option = field.default
        return default
    if field.default_factory is not dataclasses.MISSING:
        made: Option = field.default_factory()
        return made
    return None


def _typed(name: str, value: object, default: Option) -> object:
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, int) and not isinstance(default, bool) and isinstance(value, float) and value.is_integer():
        return int(value)  # JSON from viewers makes 50 into 50.0
    if type(value) is not type(default):
        raise BadOption(f"{name} is a {type(default).__name__} such as {default!r}, not {value!r}")
    return value
