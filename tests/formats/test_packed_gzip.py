"""The bit-packed stream, read by Python's own gzip and compared with numpy's packing of the whole mask."""

from __future__ import annotations

import gzip

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.core.prompt import Region
from app.formats.slicewise_gzip import PackedGzip


@given(st.tuples(st.integers(1, 19), st.integers(1, 6), st.integers(1, 7)), st.integers(0, 2**32 - 1))
def test_it_holds_what_numpy_packs_after_every_change(shape: tuple[int, int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, np.uint8)
    packed = PackedGzip(mask)
    for _ in range(3):
        low = [int(rng.integers(0, n)) for n in shape]
        high = [int(rng.integers(a + 1, n + 1)) for a, n in zip(low, shape, strict=True)]
        region = Region((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        mask[region.slices] = rng.integers(0, 2, region.shape)
        packed.touch(region)
        assert gzip.decompress(packed.gzip()) == np.packbits(mask).tobytes()


def test_the_protocols_example() -> None:
    """Voxel (1, 2, 3) of 4 x 5 x 6 is bit 45, byte 5, value 0x04 (docs/protocols/slicer-legacy.md, section 4)."""
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1, 2, 3] = 1
    assert gzip.decompress(PackedGzip(mask).gzip()) == bytes(5) + b"\x04" + bytes(9)
