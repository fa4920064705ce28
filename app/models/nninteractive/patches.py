"""Where a prediction of the nnInteractive library (2.6) that was made from further away is refined.

The library covers what changed with patches and leaves a margin of 24 voxels around what each is planned for. That was
made for patches of 192³ voxels; a network whose patch isn't more than two margins wide would have nothing left to plan
for, and the library fails. Such networks get margins in the same proportion to their patch.
"""

from __future__ import annotations

from typing import Any

LIBRARY_MARGIN = 24
"""The library's margin on each side, in voxels."""

MARGIN_SHARE = 8
"""The margin of our own plans is the patch over this: 24 of 192."""

Box = list[list[int]]


def fit_plans(library: Any) -> None:
    """Let a session of the library plan its refinement with smaller margins if its patch is too small for theirs."""
    patch = [int(n) for n in library.configuration_manager.patch_size]
    if min(patch) > 2 * LIBRARY_MARGIN:
        return

    def plan(pred: Any, scaled_bbox: Box, force_full_refine: bool) -> list[Box]:
        return plan_patches(library, pred, scaled_bbox, whole=force_full_refine)

    library._plan_refinement_bboxes = plan


def plan_patches(library: Any, coarse: Any, box: Box, *, whole: bool) -> list[Box]:
    """The patches, `[[low, high], ...]` for k, j, i and possibly beyond the image, that cover where `coarse`, the mask
    as it was predicted in `box`, differs from the mask before, most covered first; with `whole` all of that mask too.
    Where next to nothing differs, the patch around the last prompt."""
    from nnInteractive.utils.bboxes import generate_bounding_boxes

    patch = [int(n) for n in library.configuration_manager.patch_size]
    around = [[c - p // 2, c - p // 2 + p] for c, p in zip(library.new_interaction_centers[-1], patch, strict=True)]
    seen = library._clip_bbox_to_shape(box, library.interactions.shape[1:])
    if whole:
        seen = library._union_bboxes(seen, library._compute_prev_seg_positive_bbox())
    if seen is None:
        return [around]
    changed = library._compute_local_diff_map(coarse, box, seen)
    if whole:
        library._mark_prev_seg_in_local_diff(changed, seen)
    margin = [n // MARGIN_SHARE for n in patch]
    local = generate_bounding_boxes(changed, patch, stride="auto", margin=margin, max_depth=3)
    boxes: list[Box] = library._offset_bboxes(local, seen)
    return boxes or [around]
