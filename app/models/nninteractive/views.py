"""What the network is shown from further away, where a prediction's patches are limited.

A zoomed view averages the prompts over blocks of voxels. The library (2.6) does that with torch's adaptive pooling,
channel by channel over the whole view, which on a processor takes longer than the network. Within a limit the zoom is a
whole number, so that all blocks are equal; and what lies outside the image, or holds no prompt, is zero without being
computed. The image is averaged, too, where the library samples it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

Box = list[list[int]]
View = tuple[Any, list[int], Box, Any]
"""The network's input, the size of what it sees in voxels, the box of that, and the mask before at the input's size."""


@dataclass(frozen=True)
class _Axis:
    """One axis of a view: its cells of `zoom` voxels that the image reaches, `low` to `high`, and where the image's
    voxels `start` to `stop` lie in the block of those cells, from `offset`."""

    low: int
    high: int
    start: int
    stop: int
    offset: int

    @classmethod
    def of(cls, box: list[int], size: int, cells: int, zoom: int) -> _Axis:
        """For a box that may reach beyond an axis of `size` voxels. A cell beyond the image stays in the block on each
        side: a prompt that is widened may reach there."""
        start, stop = max(0, box[0]), min(size, box[1])
        low = max(0, (start - box[0]) // zoom - 1)
        high = min(cells, -((box[0] - stop) // zoom) + 1)
        return cls(low, high, start, stop, start - box[0] - low * zoom)


def shrink_by_blocks(library: Any) -> None:
    """Let a session of the library make its zoomed views by averaging blocks, where the zoom is a whole number."""
    library._build_network_input = partial(_network_input, library, library._build_network_input)


def _network_input(library: Any, usual: Callable[[Any, float], View], centre: Any, zoom_out_factor: float) -> View:
    import torch
    from nnInteractive.utils.erosion_dilation import iterative_3x3_same_padding_pool3d
    from torch.nn.functional import avg_pool3d

    patch = [int(n) for n in library.configuration_manager.patch_size]
    zoom = int(zoom_out_factor)
    size = [n * zoom for n in patch]
    box = [[c - n // 2, c - n // 2 + n] for c, n in zip(centre, size, strict=True)]
    shape = [int(n) for n in library.interactions.shape[1:]]
    axes = [_Axis.of(*given, zoom) for given in zip(box, shape, patch, strict=True)]
    if zoom < 2 or zoom != zoom_out_factor or any(axis.start >= axis.stop for axis in axes):
        return usual(centre, zoom_out_factor)

    cells = tuple(slice(axis.low, axis.high) for axis in axes)
    filled = tuple(slice(axis.offset, axis.offset + axis.stop - axis.start) for axis in axes)
    inside = [[axis.start, axis.stop] for axis in axes]
    block_shape = [1, *((axis.high - axis.low) * zoom for axis in axes)]

    view = torch.zeros([1 + library.num_interaction_channels, *patch], device=library.device)
    image = torch.zeros(block_shape, device=library.device)
    seen = library.preprocessed_image[(slice(None), *(slice(*part) for part in inside))]
    library._copy_into_device(seen, image[(slice(None), *filled)])
    view[(slice(0, 1), *cells)] = avg_pool3d(image, zoom)

    before = torch.zeros(patch, dtype=torch.float16, device=library.device)
    previous = library._get_prev_seg_channel()
    thin = set(library._get_dilation_channels_for_resample())
    block = torch.zeros(block_shape, dtype=torch.float16, device=library.device)
    for channel in sorted({previous, *library._dirty_channels}):
        library._interactions_region_into((channel, channel + 1), inside, block[(slice(None), *filled)])
        drawn = iterative_3x3_same_padding_pool3d(block[None], 2 * zoom - 1)[0] if channel in thin else block
        view[(slice(channel + 1, channel + 2), *cells)] = avg_pool3d(drawn.float(), zoom)
        if channel == previous:
            before[cells] = block[0, ::zoom, ::zoom, ::zoom]
    library._normalize_interaction_channels_for_network_(view[1:])
    return view, size, box, before
