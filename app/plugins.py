"""Finding what can be added without naming it: strategies, trainers, model types, archive types.

What comes with the server is looked for in a package, and what other installed packages offer under a group of entry
points. Both are found the same way, and one that can't be used is listed as broken, with its traceback; nothing else
suffers. An entry point's name is the public name of what it offers.

| what | package | entry points | form |
| --- | --- | --- | --- |
| strategies | `strategies` | `segloop.strategies` | one public class in a file; the file's stem is its public name |
| trainers | `trainers` | `segloop.trainers` | the same |
| model types | `app.models` | `segloop.models` | a `ModelType` in a file, beside its class |
| archive types | `app.archives` | `segloop.archives` | an `ArchiveType` in a file, beside its class |
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.abc import InspectLoader
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Generic, Protocol, TypeVar

from app.core.model import Option
from app.errors import BadOption, ConfigurationError


class Named(Protocol):
    """What is declared under a public name."""

    @property
    def name(self) -> str: ...


Found_co = TypeVar("Found_co", covariant=True)
Declared = TypeVar("Declared", bound=Named)


@dataclass(frozen=True)
class Plugin:
    """A strategy or trainer that can be made. `options` are the fields of its class with their defaults; a field
    `model`, which says that it serves each model separately, may be without one and is "" here."""

    name: str
    factory: Callable[..., Any]
    description: str
    options: Mapping[str, Option]

    @property
    def scorers(self) -> tuple[str, ...]:
        """For a strategy: the class attribute `scorers`, empty without one."""
        return tuple(getattr(self.factory, "scorers", ()))

    @property
    def reviews(self) -> bool:
        """For a strategy: the class attribute `reviews`, false without one."""
        return bool(getattr(self.factory, "reviews", False))

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

    @property
    def reason(self) -> str:
        """The last line of the problem."""
        return self.problem.strip().splitlines()[-1]


@dataclass(frozen=True)
class Plugins(Generic[Found_co]):
    """What was found, by public name."""

    found: Mapping[str, Found_co]
    broken: tuple[Broken, ...]


def strategies() -> Plugins[Plugin]:
    """Keep `app.core.pool.Strategy`."""
    return find("strategies", "segloop.strategies")


def trainers() -> Plugins[Plugin]:
    """Keep `app.core.training.Trainer`. One that doesn't say which model types it serves is broken."""
    return find("trainers", "segloop.trainers", ["model_types"])


def find(package: str, group: str, stated: Iterable[str] = ()) -> Plugins[Plugin]:
    """The classes of a package and of a group of entry points. Files whose name starts with `_` are no plugins.
    `stated` are class attributes that each must have."""
    sources: list[tuple[str, Callable[[], type]]]
    sources = [(name, partial(_only_class, f"{package}.{name}")) for name in _files(package)]
    sources += [(point.name, point.load) for point in entry_points(group=group)]
    found: dict[str, Plugin] = {}
    broken: list[Broken] = []
    for name, load in sources:
        try:
            if name in found:
                raise TypeError(f"there is a plugin {name} already")
            found[name] = _plugin(name, load(), stated)
        except Exception:  # whatever a stranger's file raises while it is imported
            broken.append(Broken(name, traceback.format_exc()))
    return Plugins(found, tuple(broken))


class Registry(Generic[Declared]):
    """Declarations of one class (`form`) with a field `name`: those of a package, and those of other packages.

    Looked for once, when first asked for. Another package is imported only when its declaration is wanted. `word` is
    what people call one. Thread-safe.
    """

    def __init__(self, form: type[Declared], word: str, package: str, group: str) -> None:
        self._form = form
        self._word = word
        self._package = package
        self._group = group

    @cached_property
    def shipped(self) -> Plugins[Declared]:
        """Those that come with the server."""
        found: dict[str, Declared] = {}
        broken: list[Broken] = []
        for module in _modules_with(f"{self._form.__name__}(", self._package):
            try:
                values = list(vars(importlib.import_module(module)).values())
            except Exception:
                broken.append(Broken(module, traceback.format_exc()))
                continue
            for value in values:
                if isinstance(value, self._form) and found.setdefault(value.name, value) is not value:
                    broken.append(Broken(module, f"there is a {self._word} {value.name} already"))
        return Plugins(found, tuple(broken))

    def names(self) -> list[str]:
        """The public names that may be asked for. Imports no other package."""
        return sorted({*self.shipped.found, *self._points})

    def check(self, name: str) -> None:
        """Raises `ConfigurationError` for a name that there is none of, with the reason if a file of ours is broken."""
        if name not in self.shipped.found and name not in self._points:
            known = f"there is no {self._word} {name!r}; there are: {', '.join(self.names())}"
            broken = [f"{one.name} is broken: {one.reason}" for one in self.shipped.broken]
            raise ConfigurationError("; ".join([known, *broken]))

    def get(self, name: str) -> Declared:
        """The declaration with a public name. Raises `ConfigurationError`: there is none, or it can't be used."""
        if name in self.shipped.found:
            return self.shipped.found[name]
        self.check(name)
        try:
            return self._load(self._points[name])
        except Exception as error:  # whatever a stranger's package raises while it is imported
            raise ConfigurationError(f"the {self._word} {name} can't be used: {error!r}") from error

    def find(self) -> Plugins[Declared]:
        """All of them, other packages imported."""
        found = dict(self.shipped.found)
        broken = list(self.shipped.broken)
        for name, point in self._points.items():
            try:
                if name in found:
                    raise TypeError(f"there is a {self._word} {name} already")
                found[name] = self._load(point)
            except Exception:
                broken.append(Broken(name, traceback.format_exc()))
        return Plugins(found, tuple(broken))

    @cached_property
    def _points(self) -> Mapping[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self._group)}

    def _load(self, point: EntryPoint) -> Declared:
        value = point.load()
        if not isinstance(value, self._form):
            raise TypeError(f"{point.value} should be a {self._form.__name__}, not {value!r}")
        if value.name != point.name:
            raise TypeError(f"the entry point {point.name} offers the {self._word} {value.name}; call both the same")
        return value


def _files(package: str) -> list[str]:
    paths = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_"))


def _modules_with(text: str, package: str) -> list[str]:
    """The modules in a package and the packages in it whose source has `text` in it. The others aren't imported: beside
    a model type there may be a network, and with it torch."""
    names = []
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        spec = find_spec(module.name)
        loader = spec.loader if spec is not None else None
        if isinstance(loader, InspectLoader) and text in (loader.get_source(module.name) or ""):
            names.append(module.name)
    return sorted(names)


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


def _plugin(name: str, factory: type, stated: Iterable[str]) -> Plugin:
    if not dataclasses.is_dataclass(factory):
        raise TypeError(f"{factory.__qualname__} should be a frozen dataclass of its options")
    if missing := [attribute for attribute in stated if not hasattr(factory, attribute)]:
        raise TypeError(f"{factory.__qualname__} doesn't state {', '.join(missing)}")
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
