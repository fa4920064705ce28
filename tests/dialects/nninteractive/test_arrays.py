"""Arrays on the wire, against the serialiser of nnInteractive's own client."""

from __future__ import annotations

import struct

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nnInteractive.inference.remote.serialization import pack_array, unpack_array

from app.dialects.nninteractive.arrays import pack, read_header, unpack
from app.errors import BadFile

LIMIT = 2**24
TYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
]
ARRAYS = st.sampled_from(TYPES).flatmap(
    lambda name: hnp.arrays(np.dtype(name), hnp.array_shapes(min_dims=1, max_dims=4, max_side=9))
)
IMAGE = np.random.default_rng(0).normal(0, 100, (1, 5, 7, 11)).astype(np.float32)


def read(packed: bytes, limit: int = LIMIT) -> np.ndarray:
    return unpack(packed, read_header(packed), limit)


@given(ARRAYS, st.sampled_from([blosc2.Codec.ZSTD, blosc2.Codec.LZ4]), st.booleans())
def test_what_the_client_packs_is_read(array, codec, shuffled):
    filters = [blosc2.Filter.SHUFFLE] if shuffled else None
    got = read(pack_array(array, codec=codec, filters=filters))
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


@given(ARRAYS)
def test_the_client_reads_what_is_packed(array):
    got = unpack_array(pack(array))
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)


def test_an_array_of_several_chunks(monkeypatch):
    monkeypatch.setattr("nnInteractive.inference.remote.serialization._CHUNK_SIZE", 256)
    packed = pack_array(IMAGE)
    assert struct.unpack_from("<I", packed, read_header(packed).end) == (7,)  # 1540 bytes
    np.testing.assert_array_equal(read(packed), IMAGE)


def declaring(name: str, shape: tuple[int, ...], *chunks: tuple[int, int, bytes], version=1, codec=1) -> bytes:
    """A packed array, byte by byte as docs/protocols/nninteractive.md, section 3, has it."""
    start = struct.pack("<4sBBBB", b"NNIA", version, codec, len(shape), len(name)) + name.encode()
    rest = b"".join(struct.pack("<QQ", before, after) + frame for before, after, frame in chunks)
    return start + struct.pack(f"<{len(shape)}q", *shape) + struct.pack("<I", len(chunks)) + rest


FRAME = blosc2.compress2(bytes(range(60)), typesize=1)
BOMB = blosc2.compress2(bytes(2**26), typesize=1)


def test_the_layout_of_the_protocol():
    got = read(declaring("uint8", (3, 4, 5), (60, len(FRAME), FRAME)))
    np.testing.assert_array_equal(got, np.arange(60, dtype=np.uint8).reshape(3, 4, 5))


@pytest.mark.parametrize(
    "packed",
    {
        "nothing": b"",
        "another magic": b"NNIB" + declaring("uint8", (60,))[4:],
        "another version": declaring("uint8", (60,), (60, len(FRAME), FRAME), version=2),
        "another codec": declaring("uint8", (60,), (60, len(FRAME), FRAME), codec=3),
        "no axes": declaring("uint8", (), (60, len(FRAME), FRAME)),
        "many axes": declaring("uint8", (1,) * 200, (60, len(FRAME), FRAME)),
        "objects": declaring("object", (7,), (56, len(FRAME), FRAME)),
        "dates": declaring("datetime64", (7,), (56, len(FRAME), FRAME)),
        "text": declaring("<U15", (1,), (60, len(FRAME), FRAME)),
        "no type": declaring("", (60,), (60, len(FRAME), FRAME)),
        "a size of nothing": declaring("uint8", (0, 60), (60, len(FRAME), FRAME)),
        "a negative size": declaring("uint8", (-3, -20), (60, len(FRAME), FRAME)),
        "sizes whose product overflows": declaring("uint8", (2**62, 4, 4), (60, len(FRAME), FRAME)),
        "a huge header": declaring("float32", (40000, 40000, 1), (60, len(FRAME), FRAME)),
        "a bomb with an honest header": declaring("uint8", (2**26,), (2**26, len(BOMB), BOMB)),
        "a bomb with a small header": declaring("uint8", (60,), (60, len(BOMB), BOMB)),
        "a bomb said to be small": declaring("uint8", (60,), (2**26, len(BOMB), BOMB)),
        "no chunks": declaring("uint8", (60,)),
        "more chunks than it needs": declaring("uint8", (60,), (60, len(FRAME), FRAME), (60, len(FRAME), FRAME)),
        "too short a frame": declaring("uint8", (60,), (60, 8, FRAME[:8])),
        "frames that aren't there": declaring("uint8", (60,))[:-4] + struct.pack("<I", 2**32 - 1),
        "half an element": declaring("uint16", (30,), (59, len(FRAME), FRAME)),
        "something behind it": declaring("uint8", (60,), (60, len(FRAME), FRAME)) + b"x",
        "a frame of nonsense": declaring("uint8", (60,), (60, 40, FRAME[:16] + bytes(range(100, 124)))),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_packed_array_is_refused(packed):
    with pytest.raises(BadFile):
        read(packed[1])


@pytest.mark.parametrize("end", [0, 3, 7, 8, 12, 20, 48, 52, 60, 84, 100, -1])
def test_a_packed_array_that_was_cut_off_is_refused(end):
    with pytest.raises(BadFile):
        read(pack_array(IMAGE)[:end])


@given(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=300)
def test_damaged_bytes_are_refused_or_read_and_nothing_else(changes):
    packed = bytearray(pack_array(IMAGE))
    for at, value in changes:
        packed[at % len(packed)] = value
    try:
        got = read(packed)
    except BadFile:
        return
    assert got.nbytes <= LIMIT
