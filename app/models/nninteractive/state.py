"""What a session of the nnInteractive library (2.6) has in memory besides its image, taken out and put back exactly.

It is these attributes: the channels of prompts with the previous mask (`interactions`), the intensity that the next
prompt is written with, which patches wait for a prediction, which channels may hold anything, the last box that was
written, and the undo log: the same values from before the last prompt, and what its writes replaced, in their order.
The target buffer is the session's mask and is kept by whoever keeps this. Everything else follows from the image and
the model folder.

Another version of the library may keep more, so nothing is taken from one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from app.errors import BadFile
from app.models.packed_arrays import packed, unpack_into, unpacked_blosc

_KNOWN = "2.6."


def form_of(library: Any) -> str | None:
    """Names the library, its version and how it keeps prompts: what is taken from one such session fits another. None
    for a version whose insides are not known."""
    version = str(library.INFERENCE_SESSION_VERSION)
    return f"nnInteractive {version} {library._interactions_storage_resolved}" if version.startswith(_KNOWN) else None


def take(library: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A session's state as values for JSON, and arrays as bytes. Changes nothing."""
    parts = {"interactions": _packed_prompts(library, library.interactions)}
    values: dict[str, Any] = {
        "intensity": float(library.current_interaction_intensity),
        "waiting": _queue(library.new_interaction_centers, library.new_interaction_zoom_out_factors),
        "channels": sorted(int(channel) for channel in library._dirty_channels),
        "pasted": _box(library._last_paste_bbox),
        "autozoom": bool(library.do_autozoom),
        "undo": None,
    }
    log = library._undo_log
    if log is not None:
        records = []
        for number, (kind, channel, slices, before) in enumerate(log["records"]):
            records.append({"kind": kind, "channel": _number(channel), "slices": _bounds(library, slices)})
            if before is not None:
                parts[f"undo {number}"] = packed(before)
        values["undo"] = {
            "intensity": float(log["current_interaction_intensity"]),
            "waiting": _queue(*log["queued"]),
            "channels": sorted(int(channel) for channel in log["dirty_channels"]),
            "records": records,
        }
    return values, parts


def put_back(library: Any, values: Mapping[str, Any], parts: Mapping[str, bytes]) -> None:
    """Give a session without prompts the state of another on the same image.

    Raises:
        BadFile: it doesn't fit; the session is of no use then.
    """
    try:
        _fill_prompts(library, parts["interactions"])
        library.current_interaction_intensity = float(values["intensity"])
        centres, zooms = _unqueued(values["waiting"])
        library.new_interaction_centers, library.new_interaction_zoom_out_factors = centres, zooms
        library._dirty_channels = set(values["channels"])
        library._last_paste_bbox = values["pasted"]
        library.set_do_autozoom(bool(values["autozoom"]))
        undo = values["undo"]
        library._undo_log = None if undo is None else _undo_log(library, undo, parts)
    except (KeyError, TypeError, ValueError) as error:
        raise BadFile(f"a session's state doesn't fit: {error!r}") from error


def forget_prompts(library: Any) -> None:
    """Empty the channels of prompts of a session, before `put_back`."""
    if library._interactions_storage_resolved == "tensor":
        library.interactions.zero_()
    else:
        library.interactions = library._new_interactions_array(library.interactions.shape, library.torch_n_threads)


def _packed_prompts(library: Any, prompts: Any) -> bytes:
    """The channels of prompts, which are a dense tensor or a blosc2 array."""
    if library._interactions_storage_resolved == "tensor":
        return packed(prompts.numpy(), library._blosc2_cparams())
    return packed(prompts)


def _fill_prompts(library: Any, content: bytes) -> None:
    if library._interactions_storage_resolved != "tensor":
        unpack_into(content, library.interactions)
        return
    import torch

    kept = unpacked_blosc(content, tuple(library.interactions.shape), np.float16)
    for channel in range(kept.shape[0]):  # one at a time: together they are gigabytes
        library.interactions[channel] = torch.from_numpy(kept[channel])


def _undo_log(library: Any, undo: Mapping[str, Any], parts: Mapping[str, bytes]) -> dict[str, Any]:
    records = []
    for number, record in enumerate(undo["records"]):
        slices = None if record["slices"] is None else tuple(slice(low, high) for low, high in record["slices"])
        content = parts.get(f"undo {number}")
        before = None if content is None else _before(library, record["kind"], slices, content)
        records.append((record["kind"], record["channel"], slices, before))
    return {
        "current_interaction_intensity": float(undo["intensity"]),
        "dirty_channels": set(undo["channels"]),
        "queued": _unqueued(undo["waiting"]),
        "records": records,
    }


def _before(library: Any, kind: str, slices: Sequence[slice] | None, content: bytes) -> Any:
    """What one write replaced, as the library keeps it."""
    settings = library._blosc2_cparams()
    if kind == "interactions_array":
        return unpacked_blosc(content, tuple(library.interactions.shape), np.float16, settings)
    if kind not in {"interactions", "target"} or slices is None:
        raise ValueError(f"an undo record of kind {kind!r}")
    shape = [part.stop - part.start for part in slices]
    return unpacked_blosc(content, shape, np.uint8 if kind == "target" else np.float16, settings)


def _bounds(library: Any, slices: Sequence[slice] | None) -> list[list[int]] | None:
    if slices is None:
        return None
    sizes = library.interactions.shape[1:]
    return [[int(x) for x in part.indices(int(size))[:2]] for part, size in zip(slices, sizes, strict=True)]


def _queue(centres: Iterable[Sequence[int]], zooms: Iterable[float]) -> list[list[Any]]:
    return [[[int(x) for x in centre], _exact(zoom)] for centre, zoom in zip(centres, zooms, strict=True)]


def _unqueued(waiting: Sequence[Sequence[Any]]) -> tuple[list[list[int]], list[float]]:
    return [centre for centre, _ in waiting], [zoom for _, zoom in waiting]


def _box(box: Sequence[Sequence[int]] | None) -> list[list[int]] | None:
    return None if box is None else [[int(low), int(high)] for low, high in box]


def _exact(number: float) -> float | int:
    """A whole number stays one, as the library has it; JSON keeps every bit of the others."""
    return int(number) if isinstance(number, int) else float(number)


def _number(channel: Any) -> int | None:
    return None if channel is None else int(channel)
