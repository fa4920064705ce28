"""An image in, a label map out, as ITKIT's plugin for 3D Slicer asks for it: from request to the answer's last byte.

- ours: `/api/infer` with a `.nii.gz` file as the plugin of ITKIT 4.0.0 sends it (singular API): the image is
  turned to LPI and scaled to a window. How the client packs its image and unpacks the answer is its own.
- peer: ITKIT 4.0.0's own server in a process of its own with the same ONNX file and the same request, if it can be
  fetched. It computes on the processor, which takes a patch (`tests/clients/itkit_peer.py`).
- library: `OnnxModel.label` in this process, called on voxels that are in memory already and lie along LPI. It has the
  same windows, the scaling, the sums and the decision; no upload, file, axes to turn, device queue or answer. It is
  this project's own inference, so what is compared with it is what the server adds, not how good the inference is:
  that is in the peer's row.
- older plugin: the same image, sent as the plural API has it: also an upload, but neither turned nor scaled. Its
  ONNX file takes HU. ITKIT's server of today knows no such request, so it is compared with ours for the current plugin.

The network is one convolution, so that what the servers add is seen: it finds the organs of a phantom by their grey
values, in windows of 96 x 96 x 96 that overlap by half, which is ITKIT's default. Label maps are compared voxel by
voxel: with those of the peer on its grid, with the library's on the image's.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import requests
import SimpleITK as sitk
from numpy.typing import NDArray

from app.models.device import Device
from app.models.itkit.grey_window import GreyWindow
from app.models.itkit.inference_config import InferenceConfig
from app.models.itkit.onnx import OnnxModel, open_onnx
from bench.data import Plan, Shape
from bench.measure import Contender, interleave
from bench.nninteractive import phantom
from bench.report import Row, added, ratio
from bench.server import serving
from tests.clients.itkit_peer import PeerMissing, peer_server
from tests.models.onnx_files import network, saved

SHAPES: tuple[Shape, ...] = ((256, 256, 256), (300, 512, 512))
QUICK_SHAPE = (128, 128, 128)
CACHE = Path(__file__).parents[1] / ".cache" / "itkit"
PATCH = (96, 96, 96)
GREYS = (0, 30, 60, 90, 120, 150)
"""HU of the background and of the phantom's five organs."""
WINDOW = GreyWindow(level=40, width=400)
PROCESSOR = {"accumulate_device": "cpu", "forward_device": "cpu", "fp16": False}
"""What ITKIT has to be told where there is no graphics card; ours takes no notice."""
TARGET = 1.0


def run(plan: Plan) -> list[Row]:
    folder = plan.new_folder("itkit")
    models, studies = folder / "models", folder / "studies"
    models.mkdir()
    studies.mkdir()
    current, older = nearest(models / "windowed.onnx", scaled=True), nearest(models / "native.onnx", scaled=False)
    with ExitStack() as stack:
        own = {"bands": {"type": "fake_automatic"}}
        urls = {"ours": stack.enter_context(serving(studies, folder / "workspace", own, model_dir=str(models))).address}
        try:
            CACHE.mkdir(parents=True, exist_ok=True)
            urls["peer"] = stack.enter_context(peer_server(CACHE))
        except PeerMissing as error:
            print(f"not compared with ITKIT: {error}")
        for url in urls.values():
            load(url, current)
        bare = [open_onnx(file, Device("cpu"), InferenceConfig()) for file in (current, older)]
        shapes = (QUICK_SHAPE,) if plan.quick else SHAPES
        return [row for shape in shapes for row in _measured(plan, folder, urls, bare, shape)]


def _measured(plan: Plan, folder: Path, urls: dict[str, str], bare: list[OnnxModel], shape: Shape) -> list[Row]:
    size = " x ".join(str(n) for n in reversed(shape))
    voxels = phantom(shape)
    file = written(voxels, folder / f"image-{shape[0]}.nii.gz")
    down = voxels[::-1]  # its slices go up, and those of LPI down
    asked = {name: Inference(url, file) for name, url in urls.items()}
    older = Inference(urls["ours"], file, model_name="native")
    equal = agreement(asked, older, bare, voxels)
    contenders = {name: Contender(one.answer) for name, one in asked.items()}
    contenders["older"] = Contender(older.answer)
    contenders["library"] = Contender(partial(bare[0].label, down, WINDOW))
    times = interleave(contenders, plan.repeats(3, quick=1), warm_up=False)  # the comparison was the first round
    what = f"image to label map, {size}"
    rows = [
        added("itkit", f"{what}; {equal['library']}", times["ours"], "library", times["library"], None),
        added("itkit", f"older plugin's {what}; {equal['older']}", times["older"], "current's", times["ours"], None),
    ]
    if "peer" in times:
        against = ratio("itkit", f"{what}; {equal['peer']}", times["ours"], "ITKIT 4.0.0", times["peer"], TARGET)
        rows.insert(0, against)
    return rows


@dataclass(frozen=True)
class Inference:
    """A request for the labels of an image, of the older generation if it names a model."""

    url: str
    file: Path
    model_name: str = ""

    def answer(self) -> bytes:
        """The answer, a gzip NIfTI file. Raises `requests.HTTPError`."""
        fields = {"force_cpu": "false"}
        if self.model_name:
            fields["model_name"] = self.model_name
        else:
            fields |= {"window_level": str(WINDOW.level), "window_width": str(WINDOW.width)}
        with self.file.open("rb") as image:
            answer = requests.post(f"{self.url}/api/infer", files={"image": image}, data=fields, timeout=600)
        answer.raise_for_status()
        return answer.content

    def labels(self) -> sitk.Image:
        """The answer, read as Slicer reads it."""
        file = self.file.with_name("answer.nii.gz")
        file.write_bytes(self.answer())
        return sitk.ReadImage(str(file))


def load(url: str, file: Path) -> None:
    """Make a model the server's current one. Raises `requests.HTTPError`."""
    asked = {"backend_type": "onnx", "model_path": str(file), "inference_config": PROCESSOR}
    requests.post(f"{url}/api/model", json=asked, timeout=120).raise_for_status()


def agreement(
    asked: dict[str, Inference], older: Inference, bare: list[OnnxModel], voxels: NDArray[np.int16]
) -> dict[str, str]:
    """Whether our label maps are those of the peer and of the library, in words."""
    ours = asked["ours"].labels()
    found = {
        "library": np.array_equal(sitk.GetArrayViewFromImage(ours)[::-1], bare[0].label(voxels[::-1], WINDOW)),
        "older": np.array_equal(sitk.GetArrayViewFromImage(older.labels()), bare[1].label(voxels, None)),
    }
    if "peer" in asked:
        theirs = asked["peer"].labels()
        turned = sitk.DICOMOrient(ours, "LPI")
        same_grid = np.allclose(turned.GetOrigin(), theirs.GetOrigin(), atol=1e-3)
        found["peer"] = same_grid and np.array_equal(
            sitk.GetArrayViewFromImage(turned), sitk.GetArrayViewFromImage(theirs)
        )
    if len(np.unique(sitk.GetArrayViewFromImage(ours))) != len(GREYS):
        raise RuntimeError("the label map doesn't have all organs")
    return {name: "labels equal" if equal else "LABELS DIFFER" for name, equal in found.items()}


def nearest(file: Path, *, scaled: bool) -> Path:
    """An ONNX model that gives a voxel the class of `GREYS` that is nearest to the mean of the 3 x 3 x 3 around it.

    `scaled` takes what the server has scaled to `WINDOW`, otherwise HU. Being nearest to g is having the largest
    g x - g^2 / 2, a convolution; less that of class 0, to lose little of it in float16.
    """
    low = WINDOW.level - WINDOW.width / 2
    greys = (np.array(GREYS) - low) / WINDOW.width
    slopes, offsets = greys - greys[0], (greys[0] ** 2 - greys**2) / 2
    if not scaled:
        slopes, offsets = slopes / WINDOW.width, offsets - slopes * low / WINDOW.width
    weights = np.repeat(slopes / 27, 27).reshape(len(GREYS), 1, 3, 3, 3)
    return saved(network(weights.astype(np.float32), offsets.astype(np.float32), PATCH), file)


def written(voxels: NDArray[np.int16], file: Path) -> Path:
    """An axial CT as Slicer saves it."""
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.7, 0.7, 1.0))
    image.SetOrigin((-180.0, -170.0, 20.0))
    sitk.WriteImage(image, str(file), useCompression=True)
    return file
