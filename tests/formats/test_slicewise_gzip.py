"""The stream is what any gzip reader reads back as the mask, however it was touched."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.prompt import Region
from app.formats.slicewise_gzip import SlicewiseGzip

sizes = st.integers(1, 9)


@st.composite
def regions(draw: st.DrawFn, shape: tuple[int, int, int]) -> Region:
    low = tuple(draw(st.integers(0, n - 1)) for n in shape)
    high = tuple(draw(st.integers(a + 1, n)) for a, n in zip(low, shape, strict=True))
    return Region(low, high)


@given(st.data(), st.tuples(sizes, sizes, sizes), st.binary(max_size=400), st.integers(0, 2**32 - 1))
@settings(max_examples=150, deadline=None)
def test_any_touches_give_the_masks_bytes(data, shape, prefix, seed):
    random = np.random.default_rng(seed)
    mask = (random.random(shape) < random.choice([0, 0.05, 0.5, 1])).astype(np.uint8)
    encoder = SlicewiseGzip(mask)
    assert gzip.decompress(encoder.gzip(prefix)) == prefix + mask.tobytes()
    for _ in range(data.draw(st.integers(0, 4))):
        region = data.draw(st.none() | regions(shape))
        if region is not None:
            mask[region.slices] = random.integers(0, 256, region.shape)
        encoder.touch(region)
        if data.draw(st.booleans()):
            assert gzip.decompress(encoder.gzip()) == mask.tobytes()
    assert gzip.decompress(encoder.gzip(prefix)) == prefix + mask.tobytes()


def test_is_one_gzip_member_with_nothing_behind_it():
    mask = np.random.default_rng(1).integers(0, 2, (5, 40, 33), dtype=np.uint8)
    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(SlicewiseGzip(mask).gzip()) == mask.tobytes()
    assert reader.eof
    assert reader.unused_data == b""


def test_an_untouched_slice_is_not_looked_at_again():
    mask = np.zeros((4, 8, 8), np.uint8)
    encoder = SlicewiseGzip(mask)
    before = encoder.gzip()
    mask[2] = 1
    assert encoder.gzip() == before
    encoder.touch(Region((2, 0, 0), (3, 8, 8)))
    assert gzip.decompress(encoder.gzip()) == mask.tobytes()


def test_a_view_in_another_memory_order_is_written_i_fastest():
    mask = np.asfortranarray(np.random.default_rng(2).integers(0, 2, (6, 5, 4), dtype=np.uint8))
    assert gzip.decompress(SlicewiseGzip(mask).gzip()) == mask.tobytes(order="C")


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not on this machine")
def test_node_reads_it(tmp_path):
    mask = (np.random.default_rng(3).random((7, 130, 77)) < 0.1).astype(np.uint8)
    mask[4:] = 0
    (tmp_path / "mask.gz").write_bytes(SlicewiseGzip(mask).gzip(b"a header\n"))
    script = (
        "const fs = require('fs'), zlib = require('zlib');"
        "process.stdout.write(zlib.gunzipSync(fs.readFileSync(process.argv[1])))"
    )
    read = subprocess.run(["node", "-e", script, tmp_path / "mask.gz"], capture_output=True, check=True).stdout
    assert read == b"a header\n" + mask.tobytes()


def test_only_the_touched_slices_of_a_large_mask_are_compressed(monkeypatch):
    """Of these no more than the rows with something in them; and what becomes of them is the mask as it is now."""
    mask = np.zeros((300, 512, 512), np.uint8)
    rows, columns = np.mgrid[:512, :512]
    mask[90:210] = ((rows - 250) / 90) ** 2 + ((columns - 240) / 70) ** 2 < 1
    encoder = SlicewiseGzip(mask)
    encoder.gzip()
    compressed = []
    original = zlib.compressobj

    class Counting:
        def __init__(self, *arguments):
            self._compressor = original(*arguments)
            self.flush = self._compressor.flush

        def compress(self, data):
            compressed.append(memoryview(data).nbytes)
            return self._compressor.compress(data)

    monkeypatch.setattr(zlib, "compressobj", Counting)
    mask[150, 200:210, 200:210] = 0
    encoder.touch(Region((140, 100, 100), (160, 300, 300)))
    stream = encoder.gzip()
    assert len(compressed) == 20
    filled = int(mask[140].any(axis=1).sum())
    assert sum(compressed) == 20 * filled * 512
    assert gzip.decompress(stream) == mask.tobytes()
    # Nothing was touched since.
    assert encoder.gzip() == stream
    assert len(compressed) == 20
