"""How many patches one prediction looks at, and which.

A prediction of the nnInteractive library (2.6) is one forward pass over a patch around the prompt. If the mask changes
at that patch's border, the library looks again from further away, 1.5 times as far each time and 4 times as far at most
(AutoZoom), and then covers everything that changed with patches at full resolution (refinement). It leaves a margin of
24 voxels around what each patch is planned for, made for patches of 192³ voxels: of one of 80³, 32³ are left, and a
mask that runs through a whole image is refined with dozens of patches.

`limit_patches` bounds that: the patches besides the first are counted, not timed, so that a replay does the same. Each
look is twice as far as the one before, and what is no longer refined is kept as it was predicted from further away.
Without a limit a session predicts as the library does.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

LIBRARY_MARGIN = 24
"""The library's margin on each side, in voxels."""

MARGIN_SHARE = 8
"""The margin of patches that are too small for the library's is the patch over this: 24 of 192."""

ZOOM_STEP = 2.0
"""How much further away each look is within a limit."""

Box = list[list[int]]


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

    def predict(force_full_refine: bool = False) -> Box | None:
        return _predict(library, limit, whole=force_full_refine)

    library._predict = predict
    # A channel without prompts is empty from any distance, and dilating it is what takes longest.
    thin = library._get_dilation_channels_for_resample
    library._get_dilation_channels_for_resample = lambda: [c for c in thin() if c in library._dirty_channels]


def _predict(library: Any, limit: int, *, whole: bool) -> Box | None:
    """As the library's `_predict`, which see, within a limit."""
    import torch

    if not library.new_interaction_centers:
        return None
    centre = library.new_interaction_centers[-1]
    zoom = min(library.MAX_AUTOZOOM_FACTOR, library.new_interaction_zoom_out_factors[-1])
    with torch.inference_mode(), _half_on_cards(library):
        mask, box, grown = _look(library, centre, zoom)
        # Each further look is of use only if what it sees can be refined.
        while grown and library.do_autozoom and limit > 1 and zoom < library.MAX_AUTOZOOM_FACTOR:
            zoom = min(library.MAX_AUTOZOOM_FACTOR, zoom * ZOOM_STEP)
            limit -= 1
            mask, box, grown = _look(library, centre, zoom)
        if zoom == 1:
            _write(library, mask, box)
        else:
            _refine(library, mask, box, limit, whole=whole)
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
    return mask, box, bool(library._detect_change_at_border(mask, before))


def _refine(library: Any, coarse: Any, box: Box, limit: int, *, whole: bool) -> None:
    """Write a mask that was predicted from further away, where it differs from the one before, and predict the first
    `limit` of the patches anew that cover those places."""
    from torch.nn.functional import interpolate

    size = library._bbox_size(box)
    coarse = (interpolate(coarse[None, None].float(), size, mode="trilinear")[0, 0] >= 0.5).byte()
    seen, changed = _changed(library, coarse, box, whole=whole)
    patches = plan_patches(library, (seen, changed))[:limit]
    inside = library._clip_bbox_to_shape(box, library.interactions.shape[1:])
    if inside is not None and seen is not None:
        _write_where(library, coarse, box, inside, changed, seen)
    if patches:
        library._refine_coarse_with_local_cache(patches, library._get_prev_seg_channel(), coarse, box)
    library._last_paste_bbox = library._union_bboxes(inside, library._last_paste_bbox)


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
