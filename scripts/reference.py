"""The reference pages that are made from the code: `docs/settings.md` and `docs/routes.md`.

`make docs` writes them; `tests/docs/test_reference.py` compares them with the code.
"""

from __future__ import annotations

import re
import tempfile
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from app.models.registry import MODEL_TYPES
from app.settings import Settings
from app.web.rights import least_role

DOCS = Path(__file__).parents[1] / "docs"

SETTINGS_INTRODUCTION = """\
# Settings

Made from `app/settings.py` by `make docs`; change it there.

A setting comes from its default, the file of `--config`, the environment or the command line; the later wins. In the
file (YAML) a dot is a level: `archive.username` is `username` below `archive`. In the environment, a key begins with
`SEGLOOP_` and a dot is two underscores: `SEGLOOP_ARCHIVE__USERNAME`; lists and objects are written as JSON. An unknown
key is an error. `segloop doctor` shows every setting that isn't its default, and where it came from.
"""

ROUTES_INTRODUCTION = """\
# Routes

Made from the application by `make docs`; change the endpoints' docstrings.

With a token set, routes ask for it, and each can be reached below `/t/<token>/` as well; each can also be reached below
`/u/<name>/`, which names the user. Doubled slashes count as one. Requests and answers are described in
[protocols/](protocols/README.md), [api.md](api.md) and [dicomweb.md](dicomweb.md), or at `/docs` of a running server.

The role is the least that is needed where people have accounts ([security.md](security.md)).
"""

GROUPS: Mapping[str, tuple[str, str]] = {
    "app.dialects.monailabel": (
        "MONAI Label",
        "Each is served with and without a slash at its end. `/proxy/dicom/wado/`, `/proxy/dicom/qido/`,"
        " `/proxy/dicom/stow/` and `/proxy/dicom/` are other addresses of `/dicom-web/`.",
    ),
    "app.dialects.nninteractive": ("nnInteractive", ""),
    "app.dialects.slicer_legacy": ("SlicerNNInteractive up to 0.3.2", ""),
    "app.dialects.itksnap": ("ITK-SNAP", ""),
    "app.dialects.itkit": ("ITKIT", ""),
    "app.dialects.dicomweb": (
        "DICOMweb",
        "Over a folder. Over a DICOMweb archive, every request below `/dicom-web/` is passed on to it.",
    ),
    "app.dialects.api": ("Segloop's own API", ""),
    "app.web": ("Pages and health", ""),
}
"""Modules of endpoints: a title, and a sentence about all of its routes."""


@dataclass(frozen=True, order=True)
class Served:
    """One row: a path with its methods, and what it does."""

    path: str
    methods: tuple[str, ...]
    role: str
    summary: str


def settings_page() -> str:
    """Every key of the settings with its type, default and meaning."""
    blocks = [SETTINGS_INTRODUCTION, *_settings_tables()]
    models = Settings.model_fields["models"].get_default(call_default_factory=True)
    shown = {name: model.model_dump(exclude_defaults=True) for name, model in models.items()}
    listing = yaml.safe_dump({"models": shown}, sort_keys=False)
    blocks.append(f"## Models that are served by default\n\n```yaml\n{listing}```\n")
    blocks.append(_model_types())
    return "\n".join(blocks)


def _model_types() -> str:
    note = (
        "`kind`: how it is prompted, see [glossary.md](glossary.md). Trained: by this server's trainers. Imported: its"
        " weights may come from MONAI Label. Scored: it can say which cases it is unsure of. Other installed packages"
        " may offer more types; `segloop doctor` lists them."
    )
    rows = [
        (f"`{one.name}`", f"`{one.kind}`", _yes(one.trained), _yes(one.importer is not None), _yes(one.scored))
        for _, one in sorted(MODEL_TYPES.shipped.found.items())
    ]
    return _table("Model types", note, ("type", "kind", "trained", "imported", "scored"), rows)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _settings_tables() -> Iterator[str]:
    for prefix, kind in _walk("", Settings):
        title = f"`{prefix.rstrip('.')}`" if prefix else "At the top"
        note = _sentence(kind.__doc__ or "") if prefix and kind.__doc__ else ""
        rows = [
            (f"`{prefix}{name}`", _type(field), _default(field), _cell(field.description or ""))
            for name, field in kind.model_fields.items()
            if _part(field.annotation) is None
        ]
        yield _table(title, note, ("key", "type", "default", "meaning"), rows)


def _walk(prefix: str, kind: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    yield prefix, kind
    for name, field in kind.model_fields.items():
        part = _part(field.annotation)
        if part is not None:
            many = get_origin(field.annotation) is dict
            yield from _walk(f"{prefix}{name}.{'<name>.' if many else ''}", part)


def _part(annotation: Any) -> type[BaseModel] | None:
    """The settings that a field holds, directly or by name."""
    if get_origin(annotation) is dict:
        annotation = get_args(annotation)[1]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _type(field: FieldInfo) -> str:
    return _cell(_named(field.annotation) + _limits(field.metadata))


def _named(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _named(arguments[0]) + _limits(arguments[1].metadata if isinstance(arguments[1], FieldInfo) else ())
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_named(one) for one in arguments if one is not type(None))
    if origin is list:
        return f"list of {_named(arguments[0])}"
    if origin is dict:
        return f"object of {_named(arguments[1])}"
    names = {str: "text", int: "integer", float: "number", bool: "bool", Path: "path", SecretStr: "secret text"}
    return names[annotation]


def _limits(metadata: Iterable[Any]) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    found = [f"{sign} {getattr(one, name)}" for one in metadata for name, sign in signs.items() if hasattr(one, name)]
    return f", {' and '.join(found)}" if found else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, int) and value >= 2**20 and value % 2**20 == 0:
        unit, size = ("GiB", 2**30) if value % 2**30 == 0 else ("MiB", 2**20)
        return f"`{value}` ({value // size} {unit})"
    return f"`{value}`"


def routes_page() -> str:
    """Every route of the application with its methods, by the protocol that it belongs to."""
    found = _served()
    blocks = [ROUTES_INTRODUCTION]
    for module, (title, note) in GROUPS.items():
        rows = [(f"`{one.path}`", ", ".join(one.methods), one.role, one.summary) for one in sorted(found[module])]
        blocks.append(_table(title, note, ("path", "methods", "role", "summary"), rows))
    return "\n".join(blocks)


def _served() -> dict[str, list[Served]]:
    """Rows by group. Endpoints of one path and summary are one row; a route that differs from one that is listed only
    in the slash at its end is left out."""
    methods: dict[tuple[str, str, str, str], set[str]] = {}
    listed: set[str] = set()
    for route in _routes():
        group = next((module for module in GROUPS if (route.module + ".").startswith(module + ".")), None)
        if group is None:
            continue  # FastAPI's own pages
        if route.listed:
            listed.add(route.path)
        for method in route.methods:
            role = least_role(method, route.path)
            methods.setdefault((group, route.path, role, route.summary), set()).add(method)
    found: dict[str, list[Served]] = {module: [] for module in GROUPS}
    for (group, path, role, summary), used in methods.items():
        twin = path[:-1] if path.endswith("/") else f"{path}/"
        if path not in listed and twin in listed:
            continue
        found[group].append(Served(path, tuple(sorted(used)), role, summary))
    return found


@dataclass(frozen=True)
class _Route:
    path: str
    methods: frozenset[str]
    module: str
    summary: str
    listed: bool


def _routes() -> Iterator[_Route]:
    from fastapi.routing import iter_route_contexts

    from app.main import create_app

    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder, "studies")
        studies.mkdir()
        models = {"clicks": {"type": "fake"}}
        app = create_app(Settings(studies=str(studies), workspace=Path(folder, "workspace"), models=models), token="")
        try:
            for route in iter_route_contexts(app.routes):
                endpoint = route.endpoint
                summary = getattr(route, "summary", None) or _sentence(endpoint.__doc__ or "")
                module = getattr(endpoint, "__module__", "")
                yield _Route(
                    route.path, frozenset(route.methods), module, _cell(summary), bool(route.include_in_schema)
                )
        finally:
            app.state.services.stop()


def _sentence(docstring: str) -> str:
    """The first sentence, on one line."""
    paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", paragraph, maxsplit=1)[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table(title: str, note: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"## {title}", ""]
    if note:
        lines += [note, ""]
    lines += [_row(head), _row(("---",) * len(head)), *(_row(row) for row in rows), ""]
    return "\n".join(lines)


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the pages."""
    (DOCS / "settings.md").write_text(settings_page())
    (DOCS / "routes.md").write_text(routes_page())


if __name__ == "__main__":
    main()
