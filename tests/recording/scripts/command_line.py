"""The command line: commands and options, settings, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tests.recording.client import Exchange, Site

EVERY_SETTING: dict[str, Any] = {
    "name": "Ward 7",
    "description": "Other than by default",
    "viewer_dir": "viewer",
    "host": "localhost",
    "port": 8123,
    "also_ports": [8911],
    "token": "secret",
    "token_file": None,
    "pod": False,
    "origins": ["http://viewer.example"],
    "device": "cpu",
    "threads": 2,
    "archive": {
        "filter": {"Modality": "CT"},
        "username": "anna",
        "password": "secret",
        "password_file": None,
        "token": "",
        "token_file": None,
        "ca_file": None,
        "connect_timeout": 11.0,
        "read_timeout": 61.0,
        "page_size": 201,
        "orthanc_url": "http://127.0.0.1:1",
        "labels_dir": None,
        "sync_seconds": 61.0,
    },
    "cache": {"max_bytes": 1 << 30},
    "labels": {"structures": ["liver"], "seg_type": "labelmap", "max_upload_bytes": 1 << 30},
    "models": {"clicks": {"type": "fake", "source": "", "trainer": "", "options": {}}},
    "model_dir": None,
    "mmengine": {
        "liver": {"config": "c.py", "checkpoint": "c.pth", "python": "py", "load_seconds": 1.0, "infer_seconds": 2.0}
    },
    "learning": {
        "epochs": 51,
        "train_after": 4,
        "train_fraction": 0.2,
        "validation_fold": 6,
        "tolerance": 0.006,
        "class_tolerance": 0.04,
        "score_seconds": 601.0,
        "score_cases": 201,
        "snapshots": 4,
        "pause_seconds": 2.5,
    },
    "sessions": {
        "lease_seconds": 3601.0,
        "idle_seconds": 1801.0,
        "keep_seconds": 90001.0,
        "liveness_seconds": 61.0,
        "lease_idle_seconds": 3602.0,
        "max_leases": 65,
        "match_seconds": 121.0,
        "max_bytes": 1 << 30,
        "upload_seconds": 3603.0,
    },
}
"""Every setting of the baseline by its name there, with another value than the default. A renamed one still counts."""


_TOGETHER = """
import contextlib, io, json, sys
from app.cli import main
told = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["segloop", *arguments]
    out, error, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    told.append([code, out.getvalue(), error.getvalue()])
print(json.dumps(told))
"""
"""Several command lines in one process: starting one takes longer than what they do."""


def play(site: Site) -> None:
    commands: list[tuple[str, ...]] = [()]
    while commands:
        commands = _helps(site, commands)
    folder = site.server.folder.with_name("commands")
    folder.mkdir()
    (folder / "studies").mkdir()
    place = {"studies": str(folder / "studies"), "workspace": str(folder / "workspace")}
    for values in ({"device": "cpu", "models": EVERY_SETTING["models"]}, EVERY_SETTING):
        file = _written(folder, {**place, **values})
        ended = site.server.tree.run("-m", "app.cli", "doctor", "--config", str(file))
        _keep(site, f"doctor, with {', '.join(values)}", _report(ended.returncode, ended.stdout, ended.stderr))
    _refusals(site, folder, place)


def _refusals(site: Site, folder: Path, place: dict[str, Any]) -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"nothing": 1},
        {"port": -1},
        {"archive": {"nothing": 1}},
        {"models": {"a": {"type": "nothing"}}},
        {"models": {"a b": {"type": "fake"}}},
        {"labels": {"structures": ["background"]}},
    )
    elsewhere = ("--workspace", str(folder / "other"))
    lines: list[tuple[str, ...]] = [("serve", "--nothing"), ("nothing",), ("serve", "--port", "many"), ("models",)]
    lines += [("serve", "--host", "0.0.0.0", *elsewhere), ("models", "rollback", "nobody", *elsewhere)]
    for values in wrong:
        lines.append(("doctor", "--config", str(_written(folder, {**place, **values}))))
    for arguments, (code, out, error) in zip(lines, _together(site, lines), strict=True):
        _keep(site, " ".join(arguments), {"exit code": code, "text": " ".join(out.split()), "error": _plain(error)})


def _helps(site: Site, commands: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Keep the help of commands; returns the commands below them."""
    below: list[tuple[str, ...]] = []
    for path, (_, out, _) in zip(commands, _together(site, [(*path, "--help") for path in commands]), strict=True):
        rows = [" ".join(line.strip("│ \t").split()) for line in out.splitlines()]
        options = {found[1]: {"help": row} for row in rows if (found := re.match(r"\*? ?(--[\w-]+)", row))}
        listed = (re.match(r"│ ([\w-]+)\s+(.*?)\s*│$", line) for line in out.partition("Commands")[2].splitlines()[1:])
        names = {found[1]: {"help": found[2]} for found in listed if found}
        about = " ".join(out.partition("╭")[0].split())
        _keep(site, f"{' '.join((*path, '--help'))}", {"help": about, "options": options, "commands": names})
        below += [(*path, name) for name in names]
    return below


def _together(site: Site, lines: list[tuple[str, ...]]) -> list[tuple[int, str, str]]:
    ended = site.server.tree.run("-c", _TOGETHER, json.dumps(lines))
    if ended.returncode != 0:
        raise RuntimeError(ended.stderr.strip().splitlines()[-1])
    return [(code, out, error) for code, out, error in json.loads(ended.stdout)]


def _written(folder: Path, values: dict[str, Any]) -> Path:
    file = folder / f"{len(list(folder.glob('*.yaml')))}.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def _report(code: int, out: str, error: str) -> dict[str, Any]:
    """What `segloop doctor` says: settings with where they come from, and what works."""
    told: dict[str, Any] = {"exit code": code, "error": _plain(error), "settings": {}, "checks": {}}
    for line in out.splitlines():
        if found := re.match(r"([\w.+]+) = (.*)  \((.*)\)$", line):
            told["settings"][found[1]] = {"value": found[2], "from": found[3]}
        elif found := re.match(r"(ok|PROBLEM)\s+(\w+): (.*)$", line):
            told["checks"][found[2]] = {"state": found[1], "text": found[3]}
    return told


def _plain(text: str) -> str:
    """Without the frame that is drawn around it."""
    return " ".join(re.sub(r"[╭╮╰╯─│]", " ", text).split())


def _keep(site: Site, request: str, told: dict[str, Any]) -> None:
    site.exchanges.append(Exchange(site.script, f"segloop {request}", 0, {}, told))
