"""Gzipped buffers become voxels, x fastest, and nothing that lies about its size is unpacked."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.volume import Geometry, Index
from app.dialects.itksnap.buffers import read_drawing, read_image
from app.dialects.itksnap.metadata import Grid
from app.errors import BadFile, BadInput, BadPrompt

sizes = st.integers(1, 9)
shapes = st.tuples(sizes, sizes, sizes)


def grid(shape: Index, dtype: str = "<f4") -> Grid:
    return Grid(shape, np.dtype(dtype), Geometry(shape, np.eye(4)), False)


def packed(array: Any, dtype: str = "<f4", level: int = 6) -> io.BytesIO:
    return io.BytesIO(gzip.compress(np.asarray(array, dtype).tobytes(), level))


@given(shapes, st.sampled_from(["<f4", "<i2", "|u1", "<f8"]), st.integers(0, 9), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_voxel_x_y_z_is_number_x_plus_nx_times_y_plus_ny_z(shape: Index, dtype: str, level: int, seed: int) -> None:
    nz, ny, nx = shape
    rng = np.random.default_rng(seed)
    numbers = rng.integers(0, 100, nx * ny * nz)
    voxels = read_image(packed(numbers, dtype, level), grid(shape, dtype))
    x, y, z = (int(rng.integers(n)) for n in (nx, ny, nz))
    assert voxels[z, y, x] == numbers[x + nx * (y + ny * z)]
    assert voxels.shape == shape
    assert voxels.dtype == np.dtype(dtype)


def test_a_large_one_comes_in_pieces() -> None:
    """Larger than what is read or unpacked at once, well and badly compressible."""
    shape = (5, 700, 400)
    for numbers in (np.zeros(shape), np.random.default_rng(0).normal(size=shape)):
        np.testing.assert_array_equal(read_image(packed(numbers), grid(shape)), numbers.astype("<f4"))


@given(shapes, st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_drawing_is_its_voxels_in_the_smallest_region(shape: Index, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.random(shape) < 0.1
    drawn[tuple(int(rng.integers(n)) for n in shape)] = True
    region, voxels = read_drawing(packed(drawn), grid(shape))
    where = np.argwhere(drawn)
    assert region.low == tuple(where.min(axis=0))
    assert region.high == tuple(where.max(axis=0) + 1)
    again = np.zeros(shape, bool)
    again[region.slices] = voxels
    np.testing.assert_array_equal(again, drawn)


def test_an_empty_drawing_is_a_bad_prompt() -> None:
    with pytest.raises(BadPrompt, match="nothing was drawn"):
        read_drawing(packed(np.zeros((2, 3, 4))), grid((2, 3, 4)))


def test_a_drawing_of_nan_is_refused() -> None:
    with pytest.raises(BadInput, match="not finite"):
        read_drawing(packed(np.full((2, 3, 4), np.nan)), grid((2, 3, 4)))


WHOLE = np.arange(24.0)
STREAM = packed(WHOLE).getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (packed(WHOLE[:-1]).getvalue(), "too short"),
        (packed([*WHOLE, 0]).getvalue(), "too long"),
        (gzip.compress(WHOLE.astype("<f4").tobytes() + b"\0"), "too long"),
        (b"", "too short"),
        (STREAM[:20], "breaks off"),
        (STREAM[:-8], "breaks off"),
        (STREAM[:-1], "breaks off"),
        (STREAM[:-8] + bytes(8), "can't be read|no gzip"),
        (STREAM + b"more", "follows"),
        (STREAM + STREAM, "follows"),
        (WHOLE.astype("<f4").tobytes(), "no gzip"),
        (zlib.compress(WHOLE.astype("<f4").tobytes()), "no gzip"),
        (STREAM[:15] + b"\xff" * 10 + STREAM[25:], "."),
    ],
)
def test_broken_streams_are_refused(content: bytes, words: str) -> None:
    for read in (read_image, read_drawing):
        with pytest.raises(BadFile, match=words):
            read(io.BytesIO(content), grid((2, 3, 4)))


def test_a_bomb_is_not_unpacked() -> None:
    """1 GB of zeros where 96 bytes were announced, and 1 GB announced where there is nothing."""
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb") as file:
        for _ in range(256):
            file.write(bytes(2**22))
    tracemalloc.start()
    try:
        for content, shape in ((bomb, (2, 3, 4)), (packed(WHOLE), (1, 16000, 16000))):
            for read in (read_image, read_drawing):
                with pytest.raises(BadFile):
                    read(content, grid(shape))
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()
