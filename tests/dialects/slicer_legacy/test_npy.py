"""NPY files as numpy writes them, and as others forge them."""

from __future__ import annotations

import gzip
import io
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from app.dialects.slicer_legacy.npy import read_mask, read_volume
from app.errors import BadFile

NUMBERS = ["?", "<i1", "<i2", ">i2", "<i4", "<i8", "<u1", "<u2", "<u4", "<f2", "<f4", ">f4", "<f8"]
VOLUMES = st.sampled_from(NUMBERS).flatmap(
    lambda name: hnp.arrays(np.dtype(name), hnp.array_shapes(min_dims=3, max_dims=3, max_side=9))
)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
MASK = np.zeros((4, 5, 6), np.uint8)
MASK[1, 2:4, 3] = 1


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def forged(header: str, body: bytes = b"", version: int = 1) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(2 if version == 1 else 4, "little") + text + body


@pytest.fixture
def written(tmp_path):
    def write(content: bytes):
        (tmp_path / "file").write_bytes(content)
        return tmp_path / "file"

    return write


@SHARED
@given(VOLUMES, st.booleans())
def test_a_volume_is_read_as_numpy_reads_it(written, array, fortran):
    file = written(npy(np.asfortranarray(array) if fortran else array))
    got = read_volume(file)
    assert got.dtype.isnative
    np.testing.assert_array_equal(got, np.load(file))


@SHARED
@given(VOLUMES, st.booleans())
def test_a_mask_is_what_is_not_zero(written, array, fortran):
    file = written(gzip.compress(npy(np.asfortranarray(array) if fortran else array)))
    np.testing.assert_array_equal(read_mask(file, array.shape), array != 0)


def test_a_mask_with_erased_voxels(written):
    """The client sends the difference of two unsigned masks."""
    mask = MASK - np.uint8(1) * (np.arange(120).reshape(4, 5, 6) == 0)
    assert mask[0, 0, 0] == 255
    np.testing.assert_array_equal(read_mask(written(gzip.compress(npy(mask))), (4, 5, 6)), mask != 0)


GOOD = "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 5, 6), }"
BAD = {
    "nothing": b"",
    "no NPY": b"\x89PNG" + bytes(200),
    "version 3": forged(GOOD, bytes(120), version=3),
    "pickled objects": npy(np.array([[[{"a": 1}]]], dtype=object)),
    "a pickle": pickle.dumps(MASK),
    "fields": npy(np.zeros((2, 2, 2), [("a", "u1")])),
    "complex": npy(np.zeros((2, 2, 2), np.complex64)),
    "text": npy(np.full((2, 2, 2), "a")),
    "two axes": npy(np.zeros((5, 6))),
    "four axes": npy(np.zeros((1, 4, 5, 6))),
    "a size of nothing": npy(np.zeros((0, 5, 6))),
    "a huge header": forged("{'descr': '<f4', 'fortran_order': False, 'shape': (40000, 40000, 1), }", bytes(100)),
    "a negative size": forged("{'descr': '|u1', 'fortran_order': False, 'shape': (-4, -5, 6), }", bytes(120)),
    "code for a header": forged("__import__('os').abort()", bytes(120)),
    "a header without end": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"{" * 5000,
    "cut off": npy(MASK)[:-1],
    "something behind it": npy(MASK) + b"x",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_bad_volumes_are_refused(written, content):
    with pytest.raises(BadFile):
        read_volume(written(content))


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_bad_masks_are_refused(written, content):
    with pytest.raises(BadFile):
        read_mask(written(gzip.compress(content)), (4, 5, 6))


@pytest.mark.parametrize(
    "packed",
    [b"", b"plain", gzip.compress(npy(MASK))[:-12], gzip.compress(npy(MASK))[:40]],
    ids=["empty", "not gzip", "cut off", "cut off early"],
)
def test_bad_gzip_is_refused(written, packed):
    with pytest.raises(BadFile):
        read_mask(written(packed), (4, 5, 6))


def test_a_bomb_is_inflated_no_further_than_its_header_goes(written):
    content = npy(MASK) + bytes(2**28)
    with pytest.raises(BadFile, match="not as long"):
        read_mask(written(gzip.compress(content)), (4, 5, 6))


def test_a_mask_of_another_shape(written):
    with pytest.raises(BadFile, match=r"\(4, 5, 6\).*\(6, 5, 4\)"):
        read_mask(written(gzip.compress(npy(MASK))), (6, 5, 4))
