"""Prompts as JSON, for what outlives a process: logs and snapshots. Drawn voxels are packed, deflated, base64."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Index


def encoded_prompt(prompt: Prompt) -> dict[str, Any]:
    if isinstance(prompt, InitialMask):
        return {"prompt": "mask", "refine": prompt.refine, "voxels": _packed(prompt.voxels)}
    if isinstance(prompt, Point):
        return {"prompt": "point", "at": prompt.at, "include": prompt.include}
    values = {"low": prompt.region.low, "high": prompt.region.high, "include": prompt.include}
    if isinstance(prompt, Box):
        return {"prompt": "box", **values}
    name = "scribble" if isinstance(prompt, Scribble) else "lasso"
    return {"prompt": name, **values, "voxels": _packed(prompt.voxels)}


def decoded_prompt(values: Mapping[str, Any], shape: Index) -> Prompt:
    """The prompt that was encoded; `shape` `(k, j, i)` is that of its volume.

    Raises `ValueError`, `KeyError`, `TypeError`, `zlib.error` or `binascii.Error` for anything else.
    """
    kind = values["prompt"]
    if kind == "mask":
        return InitialMask(_unpacked(values["voxels"], shape), values["refine"])
    if kind == "point":
        return Point(_index(values["at"]), values["include"])
    region = Region(_index(values["low"]), _index(values["high"]))
    if kind == "box":
        return Box(region, values["include"])
    drawn = Scribble if kind == "scribble" else Lasso
    return drawn(region, _unpacked(values["voxels"], region.shape), values["include"])


def _packed(voxels: NDArray[np.bool_]) -> str:
    return base64.b64encode(zlib.compress(np.packbits(voxels).tobytes(), 1)).decode()


def _unpacked(text: str, shape: Index) -> NDArray[np.bool_]:
    count = int(np.prod(shape))
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), np.uint8)
    return np.unpackbits(bits, count=count).astype(bool).reshape(shape)


def _index(values: Sequence[int]) -> Index:
    k, j, i = values
    return int(k), int(j), int(i)
