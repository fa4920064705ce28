"""How many patches one prediction looks at, and which.

A prediction of the nnInteractive library (2.6) is one forward pass over a patch around the prompt. If the mask changes
at that patch's border, the library looks again from further away, 1.5 times as far each time and 4 times as far at most
(AutoZoom), and then covers everything that changed with patches at full resolution (refinement). It leaves a margin of
24 voxels around what each patch is planned for, made for patches of 192³ voxels: of one of 80³, 32³ are left, and a
mask that runs through a whole image is refined with dozens of patches.

`limit_patches` bounds that: the patches besides the first are counted, not timed, so that a replay does the same. Each
look is twice as far as the one before, and what is no longer refined is kept as it was predicted from further away.
Without a limit a session predicts as the library does.

A prediction within a limit may also end before its limit (`ask_between`): what it leaves depends on the number of
patches that were done, and on nothing else. One without a limit is finished, or taken back as a whole. Both write only
once their last patch is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.core.patches import EveryPatch, Patches
from app.models.nninteractive.views import shrink_by_blocks

LIBRARY_MARGIN = 24
"""The library's margin on each side, in voxels."""

LIBRARY_PATCH = 192
LIBRARY_BORDER = (1500, 100)
"""The pixels of a face of a patch of 192³ that have to change before the library zooms out: so many, or so few if the
structure's part of the face changes by more than a fifth. Smaller faces have fewer pixels."""

MARGIN_SHARE = 8
"""The margin of patches that are too small for the library's is the patch over this: 24 of 192."""

ZOOM_STEP = 2.0
"""How much further away each look is within a limit."""

Box = list[list[int]]


@dataclass(frozen=True)
class _Bounded:
    """How many patches are left of the limit, of `most` in all, and what is asked before each of them."""

    left: int
    most: int
    patches: Patches

    def begin(self) -> bool:
        """Whether to go on with another patch."""
        return self.patches.begin(self.most)


@dataclass(frozen=True, eq=False)
class _Refined:
    """The mask of the box `hull` at full resolution, in which `done` are the patches that were predicted."""

    hull: Box
    done: list[Box]
    mask: Any

    def write(self, library: Any) -> None:
        """Make the patches that were predicted part of a session's mask, undoable as one."""
        channel = library._get_prev_seg_channel()
        inside = library._clip_bbox_to_shape(self.hull, library.interactions.shape[1:])
        if inside is not None:
            library._record_interactions_region(channel, _slices(inside))
            library._record_target_region(_slices(inside))
        for patch in self.done:
            part = self.mask[_slices(library._bbox_to_local(patch, self.hull))]
            library._paste_interactions(channel, part, patch, record_undo=False)
            library._paste_prediction_to_target_buffer(part, patch, record_undo=False)
        library._last_paste_bbox = self.hull


def fit_plans(library: Any) -> None:
    """Let a session of the library plan its refinement with smaller margins if its patch is too small for theirs: with
    nothing left to plan for, it fails."""
    if min(library.configuration_manager.patch_size) > 2 * LIBRARY_MARGIN:
        return

    def plan(coarse: Any, box: Box, force_full_refine: bool) -> list[Box]:
        return plan_patches(library, _changed(library, coarse, box, whole=force_full_refine))

    library._plan_refinement_bboxes = plan


def limit_patches(library: Any, limit: int) -> None:
    """Let a session of the library look at no more than `limit` patches besides the first in one prediction."""
    library._predict = partial(_predict, library, limit, EveryPatch())
    shrink_by_blocks(library)
    # A channel without prompts is empty from any distance, and dilating it is what takes longest.
    thin = library._get_dilation_channels_for_resample
    library._get_dilation_channels_for_resample = lambda: [c for c in thin() if c in library._dirty_channels]


@contextmanager
def ask_between(library: Any, limit: int | None, patches: Patches) -> Iterator[None]:
    """Let a session of the library, with this limit or none, ask `patches` before each patch within the block."""
    name, replaced = ("network", library.network) if limit is None else ("_predict", library._predict)
    if limit is None:
        setattr(library, name, _asking_first(replaced, patches))
    else:
        setattr(library, name, partial(_predict, library, limit, patches))
    try:
        yield
    finally:
        setattr(library, name, replaced)


def _asking_first(network: Callable[[Any], Any], patches: Patches) -> Callable[[Any], Any]:
    def predict(patch: Any) -> Any:
        patches.begin(None)
        return network(patch)

    return predict


def _predict(library: Any, limit: int, patches: Patches, force_full_refine: bool = False) -> Box | None:
    """As the library's `_predict`, which see, within a limit."""
    import torch

    if not library.new_interaction_centers:
        return None
    most = 1 + limit
    centre = library.new_interaction_centers[-1]
    zoom = min(library.MAX_AUTOZOOM_FACTOR, library.new_interaction_zoom_out_factors[-1])
    with torch.inference_mode(), _half_on_cards(library):
        patches.begin(most)
        mask, box, grown = _look(library, centre, zoom)
        # Each further look is of use only if what it sees can be refined.
        while grown and library.do_autozoom and limit > 1 and zoom < library.MAX_AUTOZOOM_FACTOR:
            if not patches.begin(most):
                limit = 0
                break
            zoom = min(library.MAX_AUTOZOOM_FACTOR, zoom * ZOOM_STEP)
            limit -= 1
            mask, box, grown = _look(library, centre, zoom)
        if zoom == 1:
            _write(library, mask, box)
        else:
            _refine(library, mask, box, _Bounded(limit, most, patches), whole=force_full_refine)
    library.new_interaction_centers = []
    library.new_interaction_zoom_out_factors = []
    written: Box | None = library._clipped_last_paste_bbox()
    return written


def _half_on_cards(library: Any) -> AbstractContextManager[Any]:
    import torch

    return torch.autocast("cuda") if library.device.type == "cuda" else nullcontext()


def _look(library: Any, centre: Any, zoom: float) -> tuple[Any, Box, bool]:
    """One forward pass: the mask at the network's resolution, the box it is of, and whether it changed at its
    border."""
    patch, _, box, before = library._build_network_input(centre, zoom)
    mask = library.network(patch[None].contiguous())[0].argmax(0).detach()
    face = (min(mask.shape) / LIBRARY_PATCH) ** 2
    many, few = (max(1, round(pixels * face)) for pixels in LIBRARY_BORDER)
    grown = library._detect_change_at_border(mask, before, abs_pxl_change_threshold=many, min_pxl_change_threshold=few)
    return mask, box, bool(grown)


def _refine(library: Any, coarse: Any, box: Box, allowed: _Bounded, *, whole: bool) -> None:
    """Predict the places anew where a mask that was predicted from further away differs from the one before, with as
    many patches as are `allowed`, and write that mask with what was predicted."""
    from torch.nn.functional import interpolate

    size = library._bbox_size(box)
    coarse = (interpolate(coarse[None, None].float(), size, mode="trilinear")[0, 0] >= 0.5).byte()
    seen, changed = _changed(library, coarse, box, whole=whole)
    planned = plan_patches(library, (seen, changed))[: allowed.left]
    inside = library._clip_bbox_to_shape(box, library.interactions.shape[1:])
    refined = _predict_again(library, planned, coarse, box, allowed) if planned else None
    if inside is not None and seen is not None:
        _write_where(library, coarse, box, inside, changed, seen)
    if refined is not None:
        refined.write(library)
    library._last_paste_bbox = library._union_bboxes(inside, library._last_paste_bbox)


def _predict_again(library: Any, planned: list[Box], coarse: Any, box: Box, allowed: _Bounded) -> _Refined | None:
    """Predict `planned` patches at full resolution, each from what those before it found and from `coarse` (the mask of
    `box`) elsewhere. None if not even the first was to be begun."""
    import torch
    from nnInteractive.utils.crop import paste_tensor

    if not allowed.begin():
        return None
    hull, image, prompts = library._build_refinement_local_cache(planned)
    channel = library._get_prev_seg_channel()
    inside = library._clip_bbox_to_shape(box, library.interactions.shape[1:])
    if inside is not None:
        part = coarse[_slices(library._bbox_to_local(inside, box))].to(prompts.device, prompts.dtype)
        paste_tensor(prompts, part, library._bbox_to_local(inside, hull), channel_idx=channel)
    elsewhere = image.device.type != library.device.type  # then the library leaves prompts to be normalised here
    done: list[Box] = []
    for patch in planned:
        if done and not allowed.begin():
            break
        local = library._bbox_to_local(patch, hull)
        around = (slice(None), *_slices(local))
        given = library._to_device(prompts[around])
        if elsewhere:
            library._normalize_interaction_channels_for_network_(given)
        stack = torch.cat((library._to_device(image[_slices(local)][None]), given))
        found = library.network(stack[None].contiguous())[0].argmax(0).detach()
        paste_tensor(prompts, found.to(prompts.device, prompts.dtype), local, channel_idx=channel)
        done.append(patch)
    return _Refined(hull, done, prompts[channel])


def _changed(library: Any, coarse: Any, box: Box, *, whole: bool) -> tuple[Box | None, Any]:
    """Where `coarse`, the mask of `box`, differs from the mask before by more than a thin layer, and with `whole` that
    mask too: the box inside the image that was looked at, and a map of it with 1 there."""
    seen = library._clip_bbox_to_shape(box, library.interactions.shape[1:])
    if whole:
        seen = library._union_bboxes(seen, library._compute_prev_seg_positive_bbox())
    if seen is None:
        return None, None
    changed = library._compute_local_diff_map(coarse, box, seen)
    if whole:
        library._mark_prev_seg_in_local_diff(changed, seen)
    return seen, changed


def plan_patches(library: Any, changed: tuple[Box | None, Any]) -> list[Box]:
    """The patches, `[[low, high], ...]` for k, j, i and possibly beyond the image, that cover what changed, those that
    cover most first. Where next to nothing changed, the patch around the last prompt."""
    from nnInteractive.utils.bboxes import generate_bounding_boxes

    patch = [int(n) for n in library.configuration_manager.patch_size]
    seen, where = changed
    if seen is not None:
        margin = [LIBRARY_MARGIN if n > 2 * LIBRARY_MARGIN else n // MARGIN_SHARE for n in patch]
        local = generate_bounding_boxes(where, patch, stride="auto", margin=margin, max_depth=3)
        if local:
            boxes: list[Box] = library._offset_bboxes(local, seen)
            return boxes
    return [[[c - p // 2, c - p // 2 + p] for c, p in zip(library.new_interaction_centers[-1], patch, strict=True)]]


def _write_where(library: Any, coarse: Any, box: Box, inside: Box, changed: Any, seen: Box) -> None:
    """Write the part of `coarse` (a mask of `box`) that lies `inside` the image, where it changed."""
    part = coarse[_slices(library._bbox_to_local(inside, box))]
    where = changed[_slices(library._bbox_to_local(inside, seen))] > 0
    before = library._read_interactions_region(library._get_prev_seg_channel(), inside)
    _write(library, part.to(before.dtype).where(where, before), inside)


def _write(library: Any, mask: Any, box: Box) -> None:
    """Make `mask` the mask of `box`, undoable."""
    library._paste_interactions(library._get_prev_seg_channel(), mask.half(), box)
    library._paste_prediction_to_target_buffer(mask, box)


def _slices(box: Box) -> tuple[slice, ...]:
    return tuple(slice(low, high) for low, high in box)
