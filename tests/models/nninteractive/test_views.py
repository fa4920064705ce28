"""Zoomed views within a limit of patches, against those that the library makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool3d

from app.core.prompt import Lasso, Point, Region, Scribble
from app.core.volume import Geometry, Volume
from app.models.device import Device
from app.models.nninteractive.model import NnInteractive
from tests.models.folders import tiny_nninteractive

SHAPE = (19, 30, 41)


@pytest.fixture(scope="module")
def device() -> Iterator[Device]:
    made = Device("cpu", threads=1, precision="fp32")
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory, device: Device) -> tuple[Any, Any]:
    """The same prompts in a session of the library, and in one within a limit."""
    folder = tiny_nninteractive(tmp_path_factory.mktemp("models") / "tiny", seed=1)
    rng = np.random.default_rng(0)
    volume = Volume(rng.normal(size=SHAPE).astype(np.float32), Geometry(SHAPE, np.eye(4)))
    lasso = Lasso(Region((9, 4, 3), (10, 12, 20)), rng.random((1, 8, 17)) < 0.7)
    stroke = Scribble(Region((2, 20, 30), (3, 29, 31)), np.ones((1, 9, 1), bool), include=False)
    found = []
    for patches in (None, 3):
        session: Any = NnInteractive("n", folder, device, patches=patches, autozoom=False).open(volume, {})
        for prompt in (Point((10, 9, 8)), stroke, lasso, Point((0, 29, 40), include=False)):
            session.add(prompt, predict=False)
        mask = torch.from_numpy((rng.random(SHAPE) < 0.4).astype(np.float16)) if not found else found[0][1]
        session._library._paste_interactions(0, mask, [[0, n] for n in SHAPE])
        found.append((session._library, mask))
    return found[0][0], found[1][0]


@pytest.mark.parametrize("zoom", [2.0, 4.0])
@pytest.mark.parametrize("centre", [(9, 15, 20), (0, 0, 0), (18, 29, 40), (5, 22, 3)])
def test_prompts_and_mask_are_as_the_library_shows_them(
    libraries: tuple[Any, Any], zoom: float, centre: tuple[int, int, int]
) -> None:
    (theirs, size, box, before), (ours, our_size, our_box, our_before) = (
        library._build_network_input(centre, zoom) for library in libraries
    )
    assert (our_size, our_box) == (size, box)
    torch.testing.assert_close(our_before, before)
    torch.testing.assert_close(ours[1:], theirs[1:].float(), rtol=0, atol=6e-3)  # theirs adds up in half precision
    assert ours[1:].any(dim=(1, 2, 3)).sum() >= 3


def test_the_image_is_averaged(libraries: tuple[Any, Any]) -> None:
    library = libraries[1]
    view, size, box, _ = library._build_network_input((9, 15, 20), 4.0)
    whole = torch.zeros(1, *size)
    there = tuple(slice(-low, n - low) for (low, _), n in zip(box, SHAPE, strict=True))
    whole[(slice(None), *there)] = library.preprocessed_image
    torch.testing.assert_close(view[:1], avg_pool3d(whole, 4))


@pytest.mark.parametrize("zoom", [1.0, 1.5])
def test_other_zooms_are_the_library_s_own(libraries: tuple[Any, Any], zoom: float) -> None:
    theirs, ours = (library._build_network_input((9, 15, 20), zoom)[0] for library in libraries)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
