"""All planes alike: what is drawn on a sagittal or a coronal slice reaches the model as the same voxels as the same
drawing on an axial slice of the volume with its axes exchanged. Through every dialect that has drawings, on an oblique
grid that runs backwards along an axis and has three different sizes."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import SimpleITK as sitk
from nnInteractive.inference.remote.serialization import pack_array
from numpy.typing import NDArray

from app.archives.memory import MemoryArchive
from app.core.prompt import Lasso, Prompt, Scribble
from app.core.volume import Geometry, Volume
from app.models.session import PromptSession
from app.settings import ModelSettings
from tests.dialects.itksnap.replica import Image, ItkSnap, Wire
from tests.dialects.slicer_legacy.test_endpoints import npy
from tests.dicom.synthetic import grid
from tests.live import serving

SHAPE = (7, 16, 11)
SLICE = 4
PERMUTATIONS = [(0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0)]
"""Of the axes (k, j, i): the drawing lies on a slice across each of them; in the last, rows and columns are exchanged
besides."""

Axes = tuple[int, ...]
Voxels = NDArray[np.bool_]


def axial() -> Volume:
    geometry = grid(SHAPE, "oblique", (0.7, 0.9, 2.5))
    affine = geometry.affine.copy()
    affine[:3, 0] *= -1  # the columns run backwards
    voxels = np.random.default_rng(0).integers(-100, 1000, SHAPE).astype(np.int16)
    return Volume(voxels, Geometry(SHAPE, affine), "CT")


def exchanged(volume: Volume, axes: Axes) -> Volume:
    """The same volume with its array axes in another order: every voxel stays where it is in the patient."""
    affine = volume.geometry.affine.copy()
    affine[:3, :3] = affine[:3, [2 - axes[2 - column] for column in range(3)]]
    k, j, i = (volume.geometry.shape[a] for a in axes)
    return Volume(np.ascontiguousarray(volume.voxels.transpose(axes)), Geometry((k, j, i), affine), "CT")


def stroke(seed: int) -> Voxels:
    """A ragged blob on one axial slice."""
    drawn = np.zeros(SHAPE, bool)
    drawn[SLICE, 3:11, 2:9] = np.random.default_rng(seed).random((8, 7)) > 0.5
    return drawn


OUTLINE = [(2.2, 1.3), (12.7, 2.6), (9.1, 8.9), (6.4, 4.2), (3.3, 9.8)]
CORNERS = [(2.0, 1.0), (12.0, 1.0), (12.0, 8.0), (5.0, 8.0), (2.0, 4.0)]
"""Of a closed line, rows and columns: one between the voxels' centres, one through some of them."""


@dataclass
class Site:
    url: str
    reached: list[Prompt] = field(default_factory=list)
    """What models were asked, in order."""

    def post(self, path: str, status: int = 200, **content: Any) -> httpx.Response:
        answer = httpx.post(self.url + path, timeout=60, **content)
        assert answer.status_code == status, answer.text
        return answer

    def the_one(self, kind: type[Prompt], include: bool, shape: tuple[int, ...]) -> Voxels:
        """The voxels of the only drawing that reached a model since the last call, in its whole volume."""
        (prompt,) = self.reached
        self.reached.clear()
        assert isinstance(prompt, Scribble | Lasso)
        assert (type(prompt), prompt.include) == (kind, include)
        whole = np.zeros(shape, bool)
        whole[prompt.region.slices] = prompt.voxels
        return whole


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    archive = MemoryArchive()
    for axes in PERMUTATIONS:
        archive.add_volume(name_of(axes), exchanged(axial(), axes))
    models = {"clicks": ModelSettings(type="fake"), "Histogram+GraphCut": ModelSettings(type="histogram_graphcut")}
    with serving(tmp_path_factory.mktemp("planes") / "workspace", models, archive) as live:
        live.services.sync.run()
        for thread in threading.enumerate():
            if thread.name == "warm-up":
                thread.join()  # it makes a prompt of its own
        yield Site(live.url)


@pytest.fixture
def site(server: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    add = PromptSession.add

    def noted(self: PromptSession, prompt: Prompt, **options: Any) -> Any:
        server.reached.append(prompt)
        return add(self, prompt, **options)

    monkeypatch.setattr(PromptSession, "add", noted)
    server.reached.clear()
    return server


def name_of(axes: Axes) -> str:
    return "case " + "".join("kji"[a] for a in axes)


Draw = Callable[[Site, Axes, Voxels, str, bool], None]
"""Sends a drawing, whose voxels are those of the volume with these axes."""


def api(site: Site, axes: Axes, drawn: Voxels, kind: str, include: bool) -> None:
    session = site.post("/api/v1/sessions", 201, json={"case_id": name_of(axes), "model": "clicks"}).json()["id"]
    low, high = bounds(drawn)
    part = drawn[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    voxels = base64.b64encode(np.packbits(part).tobytes()).decode()
    prompt = {"type": kind, "low": low, "high": high, "voxels": voxels, "include": include}
    site.post(f"/api/v1/sessions/{session}/prompts", json={"prompts": [prompt]})


def nninteractive(site: Site, axes: Axes, drawn: Voxels, kind: str, include: bool, whole: bool = False) -> None:
    token = {"X-Lease-Token": site.post("/claim").json()["lease_token"]}
    image = exchanged(axial(), axes).voxels[None]
    site.post("/set_image", content=pack_array(image), headers={**token, "X-Meta": "{}"})
    site.post("/set_target_buffer", json={"shape": drawn.shape, "dtype": "uint8"}, headers=token)
    low, high = ([0, 0, 0], list(drawn.shape)) if whole else bounds(drawn)
    meta = {
        "include_interaction": include,
        "run_prediction": True,
        "interaction_bbox": None if whole else [list(pair) for pair in zip(low, high, strict=True)],
    }
    part = drawn[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    headers = {**token, "X-Meta": json.dumps(meta)}
    site.post(f"/add_{kind}_interaction", content=pack_array(part.astype(np.uint8)), headers=headers)


def nninteractive_whole(site: Site, axes: Axes, drawn: Voxels, kind: str, include: bool) -> None:
    nninteractive(site, axes, drawn, kind, include, whole=True)


def slicer_legacy(site: Site, axes: Axes, drawn: Voxels, kind: str, include: bool) -> None:
    site.post("/upload_image", files={"file": ("volume.npy", npy(exchanged(axial(), axes).voxels))})
    files = {"file": ("volume.npy.gz", gzip.compress(npy(drawn.astype(np.uint8))))}
    site.post(f"/add_{kind}_interaction", files=files, data={"positive_click": str(include)})


def itksnap(site: Site, axes: Axes, drawn: Voxels, kind: Any, include: bool) -> None:
    volume = exchanged(axial(), axes)
    snap = ItkSnap(Wire(int(site.url.rpartition(":")[2])), 2)
    snap.connect()
    snap.choose("clicks")
    affine = volume.geometry.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    directions = (affine[:3, :3] / spacing).ravel().tolist()
    image = Image(volume.voxels.astype(np.float32), tuple(spacing), tuple(affine[:3, 3]), tuple(directions))
    snap.draw(image, drawn.astype(np.float32), kind, foreground=include)


@pytest.mark.parametrize("axes", PERMUTATIONS, ids=name_of)
@pytest.mark.parametrize("kind", ["scribble", "lasso"])
@pytest.mark.parametrize("draw", [api, nninteractive, nninteractive_whole, slicer_legacy, itksnap])
def test_a_drawing_is_the_same_voxels_in_every_plane(site: Site, draw: Draw, kind: str, axes: Axes) -> None:
    expected, include = stroke(len(kind)), axes[0] != 0
    draw(site, axes, expected.transpose(axes), kind, include)
    shape = exchanged(axial(), axes).geometry.shape
    found = site.the_one(Scribble if kind == "scribble" else Lasso, include, shape)
    np.testing.assert_array_equal(found.transpose(np.argsort(axes)), expected)


@pytest.mark.parametrize("axes", PERMUTATIONS, ids=name_of)
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".bin"])
def test_monailabel_s_strokes_are_the_same_voxels_in_every_plane(
    site: Site, axes: Axes, ending: str, tmp_path: Path
) -> None:
    """Strokes inside and outside the structure, painted on one slice, come as a label file in the patient's space."""
    volume = exchanged(axial(), axes)
    expected = {True: stroke(1), False: stroke(2) & ~stroke(1)}
    painted = (4 * expected[True] + 3 * expected[False]).astype(np.uint8).transpose(axes)
    entries = [{"name": "background_scribbles", "id": 3}, {"name": "foreground_scribbles", "id": 4}]
    label = ("file" + ending, label_file(np.ascontiguousarray(painted), volume.geometry, tmp_path / f"file{ending}"))
    site.post(
        "/infer/Histogram%2BGraphCut",
        params={"image": name_of(axes)},
        data={"params": json.dumps({"label_info": entries, "roi": []})},
        files={"label": label},
    )
    found = {}
    for prompt in site.reached:
        assert isinstance(prompt, Scribble)
        found[prompt.include] = whole = np.zeros(volume.geometry.shape, bool)
        whole[prompt.region.slices] = prompt.voxels
    assert len(site.reached) == 2
    for include, voxels in expected.items():
        np.testing.assert_array_equal(found[include].transpose(np.argsort(axes)), voxels)


@pytest.mark.parametrize(
    ("outline", "axes"),
    [(OUTLINE, axes) for axes in PERMUTATIONS]
    # Not with rows and columns exchanged: a centre on a slanted line then belongs to its other side.
    + [(CORNERS, axes) for axes in PERMUTATIONS if axes.index(1) < axes.index(2)],
)
@pytest.mark.parametrize("depth", [SLICE, SLICE + 0.3, SLICE - 0.5])
def test_a_closed_line_is_filled_alike_in_every_plane(
    site: Site, axes: Axes, outline: list[tuple[float, float]], depth: float
) -> None:
    """The server fills it. Viewers show planes between two slices, too: what is drawn there lies on one of them,
    however the points' last digits are rounded."""
    rng = np.random.default_rng(3)
    points = [(depth + 1e-9 * rng.standard_normal(), *corner) for corner in outline]
    found = {}
    for order in (PERMUTATIONS[0], axes):
        session = site.post("/api/v1/sessions", 201, json={"case_id": name_of(order), "model": "clicks"}).json()["id"]
        turned = [tuple(point[a] for a in order) for point in points]
        prompt = {"type": "polygon_lasso", "axis": order.index(0), "points": turned}
        site.post(f"/api/v1/sessions/{session}/prompts", json={"prompts": [prompt]})
        shape = exchanged(axial(), order).geometry.shape
        found[order] = site.the_one(Lasso, True, shape).transpose(np.argsort(order))
    np.testing.assert_array_equal(found[axes], found[PERMUTATIONS[0]])
    assert found[axes].any(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize("axes", PERMUTATIONS, ids=name_of)
@pytest.mark.parametrize("depth", [SLICE, SLICE + 0.3])
@pytest.mark.parametrize("radius", [0.75, 2.0])
def test_a_pen_s_line_is_drawn_alike_in_every_plane(site: Site, axes: Axes, depth: float, radius: float) -> None:
    found = {}
    for order in (PERMUTATIONS[0], axes):
        session = site.post("/api/v1/sessions", 201, json={"case_id": name_of(order), "model": "clicks"}).json()["id"]
        turned = [tuple((depth, *corner)[a] for a in order) for corner in OUTLINE]
        prompt = {"type": "polyline_scribble", "radius": radius, "points": turned, "include": False}
        site.post(f"/api/v1/sessions/{session}/prompts", json={"prompts": [prompt]})
        shape = exchanged(axial(), order).geometry.shape
        found[order] = site.the_one(Scribble, False, shape).transpose(np.argsort(order))
    np.testing.assert_array_equal(found[axes], found[PERMUTATIONS[0]])


def bounds(drawn: Voxels) -> tuple[list[int], list[int]]:
    places = np.argwhere(drawn)
    return places.min(axis=0).tolist(), (places.max(axis=0) + 1).tolist()


def label_file(voxels: NDArray[np.uint8], geometry: Geometry, file: Path) -> bytes:
    if file.suffix == ".bin":
        return voxels.tobytes()
    image = sitk.GetImageFromArray(voxels)
    spacing = np.linalg.norm(geometry.affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(geometry.affine[:3, 3].tolist())
    image.SetDirection((geometry.affine[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(file), True)
    return file.read_bytes()
