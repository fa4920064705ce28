"""Arrays as bytes and back, against numpy."""

from __future__ import annotations

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import BadFile
from app.models.packed_arrays import packed, unpack_into, unpacked, unpacked_blosc


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 40)] * 3),
    dtype=st.sampled_from(["u1", "f2", "f4", "i8"]),
    share=st.sampled_from([0.0, 0.01, 1.0]),
    seed=st.integers(0, 9),
)
def test_what_is_packed_comes_back_bit_by_bit(shape: tuple[int, int, int], dtype: str, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = np.where(rng.random(shape) < share, rng.random(shape) * 200, 0).astype(dtype)
    back = unpacked(packed(array), shape, dtype)
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


def chunked() -> tuple[blosc2.NDArray, np.ndarray]:
    """A blosc2 array in many chunks, most of them zero, written to in places; and the same in numpy."""
    shape = (3, 70, 80, 90)
    array = blosc2.zeros(shape, dtype=np.float16, chunks=(1, 32, 32, 32), blocks=(1, 16, 16, 16))
    plain = np.zeros(shape, np.float16)
    for number in range(5):
        rng = np.random.default_rng(number)
        c, k, j, i = (int(rng.integers(n)) for n in (3, 60, 70, 80))
        values = rng.random((9, 9, 9)).astype(np.float16)
        array[c, k : k + 9, j : j + 9, i : i + 9] = values
        plain[c, k : k + 9, j : j + 9, i : i + 9] = values
    return array, plain


def test_a_blosc2_array_comes_back_and_can_be_written_to() -> None:
    array, plain = chunked()
    assert array[...].tobytes() == plain.tobytes()
    fresh = blosc2.zeros(array.shape, dtype=np.float16, chunks=array.chunks, blocks=array.blocks)
    unpack_into(packed(array), fresh)
    other = unpacked_blosc(packed(array), array.shape, np.float16)
    plain[1, 30:50, 20:41, 60:90] = 7
    for one in (fresh, other):
        one[1, 30:50, 20:41, 60:90] = 7
        assert one[...].tobytes() == plain.tobytes()


def test_zeros_take_no_room() -> None:
    array = blosc2.zeros((7, 300, 512, 512), dtype=np.float16, chunks=(1, 64, 64, 64), blocks=(1, 32, 32, 32))
    array[3, 100:109, 100:109, 100:109] = 1
    assert len(packed(array)) < 5000


def test_another_shape_type_or_layout_is_refused_before_anything_is_made() -> None:
    array, _ = chunked()
    content = packed(array)
    with pytest.raises(BadFile):
        unpacked(content, (3, 70, 80, 91), np.float16)
    with pytest.raises(BadFile):
        unpacked(content, array.shape, np.uint8)
    with pytest.raises(BadFile, match="fit"):
        unpack_into(content, blosc2.zeros(array.shape, dtype=np.float16, chunks=(1, 64, 64, 64)))


@pytest.mark.parametrize("cut", [0, 3, 10, -1])
def test_what_is_cut_off_is_refused(cut: int) -> None:
    array, _ = chunked()
    with pytest.raises(BadFile):
        unpacked(packed(array)[:cut], array.shape, np.float16)
