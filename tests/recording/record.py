"""One tree's recording: its servers, and every script played against them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.recording.client import Answer, Site
from tests.recording.compare import Noted
from tests.recording.masking import Masks
from tests.recording.scripts import (
    access,
    api,
    command_line,
    dicomweb,
    itkit,
    itksnap,
    monailabel,
    nninteractive,
    pages,
    restart,
    slicer_legacy,
)
from tests.recording.server import Tree, serving
from tests.recording.studies import Studies, archive

KINDS = ("folder", "orthanc")

SCRIPTS: Mapping[str, Callable[[Site], None]] = {
    "monailabel": monailabel.play,
    "nninteractive": nninteractive.play,
    "slicer_legacy": slicer_legacy.play,
    "itksnap": itksnap.play,
    "itkit": itkit.play,
    "dicomweb": dicomweb.play,
    "api": api.play,
    "pages": pages.play,
    "restart": restart.play,
    "access": access.play,
    "command_line": command_line.play,
}
"""In this order, against one server: what the earlier ones did shows in the lists of the later ones."""

MODELS: Mapping[str, Any] = {
    # The first interactive one is what viewers get that know only one.
    "clicks": {"type": "fake"},
    "bands": {"type": "fake_automatic"},
    "Histogram+GraphCut": {"type": "histogram_graphcut"},
    "untrained": {"type": "segmentation", "trainer": "segmentation"},
    "deepedit": {"type": "deepedit", "trainer": "deepedit"},
    "deepgrow_2d": {"type": "deepgrow_2d", "trainer": "deepgrow", "options": {"dimension": 2}},
}
"""Models that give the same voxels on every machine, and some that aren't trained."""


def settings(studies: str, models: Path) -> dict[str, Any]:
    """The configuration of a server, but for its workspace and its port."""
    return {
        "name": "Recorded",
        "description": "A server whose answers are compared",
        "studies": studies,
        "device": "cpu",
        "threads": 1,
        "models": dict(MODELS),
        "model_dir": str(models),
        "labels": {"structures": ["liver", "spleen"]},
        "learning": {"train_after": 0, "epochs": 1, "pause_seconds": 0},
        "sessions": {"max_leases": 3},
        "archive": {"sync_seconds": 3600},
    }


def record(tree: Tree, kind: str, folder: Path, studies: Studies, scripts: Iterable[str]) -> list[Noted]:
    """Everything that the scripts ask and get to know of a tree's server over an archive of this kind, masked."""
    studies.write_models(folder / "onnx")
    with archive(kind, studies, folder) as (address, orthanc):
        masks = Masks(studies.uids, {str(folder): "<folder>", str(tree.folder): "<tree>"})
        if orthanc is not None:
            masks.places[orthanc.rest.rpartition(":")[2]] = "<orthanc's port>"
        with serving(tree, folder / "server", settings(address, folder / "onnx")) as server:
            masks.places[str(server.port)] = "<port>"
            site = Site(server, kind, studies, masks)
            count = len(studies.series) + (kind == "folder")
            site.wait("the archive is read", lambda: site.ask("GET", "/info/").get("datastore", "total") == count)
            for name in scripts:
                _play(site, name, f"{kind} {name}")
        return [
            Noted(
                one.script,
                masks.text(one.request),
                {"status": one.status, "headers": masks.headers(one.headers), "body": masks.value(one.body)},
            )
            for one in site.exchanges
        ]


def _play(site: Site, name: str, called: str) -> None:
    site.script = called
    try:
        SCRIPTS[name](site)
    except Exception as error:
        # An answer that a script can't go on from, or none at all. The other scripts still have something to say.
        where = traceback.extract_tb(error.__traceback__)[-1]
        site.keep(f"(ended by {type(error).__name__} in {where.name}: {error})", Answer(0, {}, b""))
