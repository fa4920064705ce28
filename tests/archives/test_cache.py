"""The cache of volumes: fetched once, never served damaged, never larger than allowed, never in the way."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from app.archives import cache as cache_module
from app.archives import cache_entry
from app.archives.cache import VolumeCache
from app.archives.cache_entry import ENDINGS
from app.archives.memory import MemoryArchive
from app.core.archive import Fetched
from app.core.case import Case
from app.core.progress import Progress, ignore_progress
from app.core.volume import Volume
from app.errors import ArchiveUnavailable, Cancelled, ResourceExhausted
from tests.dicom.synthetic import ct_series, grid, phantom

SHAPE = (6, 40, 30)
ROOM = 1 << 30


class Counting(MemoryArchive):
    """Counts fetches, and waits in them until it is allowed to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches = 0
        self.gate = threading.Event()
        self.gate.set()

    def fetch(self, case: Case, progress: Progress) -> Fetched:
        self.fetches += 1
        while not self.gate.wait(0.01):
            progress(0.5)
        return super().fetch(case, progress)


@pytest.fixture
def archive() -> Counting:
    return Counting()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def volume(seed: int = 0, dtype: type = np.int16) -> Volume:
    return Volume(phantom(SHAPE, seed).astype(dtype), grid(SHAPE, "oblique"), "CT", ("a warning",))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.uint8, np.uint16])
def test_a_volume_comes_back_as_it_was(archive: Counting, directory: Path, dtype: type) -> None:
    given = volume(dtype=dtype)
    case = archive.add_volume("x", given)
    for cache in (VolumeCache(archive, directory, ROOM), VolumeCache(archive, directory, ROOM)):
        for _ in range(2):
            found = cache.volume(case)
            cache.drain()
            np.testing.assert_array_equal(found.voxels, given.voxels)
            assert found.voxels.dtype == dtype
            np.testing.assert_array_equal(found.geometry.affine, given.geometry.affine)
            assert (found.modality, found.warnings) == ("CT", ("a warning",))
    assert archive.fetches == 1


def test_a_volume_is_mapped_and_can_t_be_changed(archive: Counting, directory: Path) -> None:
    case = archive.add_volume("x", volume())
    cache = VolumeCache(archive, directory, ROOM)
    assert not cache.volume(case).voxels.flags.writeable  # from memory, while it is written
    cache.drain()
    found = cache.volume(case)
    assert not found.voxels.flags.writeable
    assert isinstance(found.voxels.base, np.memmap)
    assert type(found.voxels) is np.ndarray


def test_the_download_is_a_nifti_that_others_read(archive: Counting, directory: Path) -> None:
    given = volume()
    file = VolumeCache(archive, directory, ROOM).nifti(archive.add_volume("x", given))
    image = nibabel.load(file.path)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, given.voxels)
    np.testing.assert_allclose(np.diag([-1, -1, 1, 1]) @ image.affine, given.geometry.affine, atol=1e-3)
    assert file.size == file.path.stat().st_size
    assert len(file.sha256) == 64


def test_headers_come_back_in_slice_order(archive: Counting, directory: Path) -> None:
    datasets, _ = ct_series(reversed=True)
    case = archive.add_series(datasets)
    expected = archive.fetch(case, ignore_progress).headers
    cache = VolumeCache(archive, directory, ROOM)
    assert list(cache.headers(case)) == list(expected)
    cache.drain()
    again = VolumeCache(archive, directory, ROOM)
    assert list(again.headers(case)) == list(expected)
    assert again.headers(case) is again.headers(case)
    assert archive.fetches == 2
    assert len(cache.headers(archive.add_volume("x", volume()))) == 0


def test_a_changed_case_is_fetched_anew(archive: Counting, directory: Path) -> None:
    cache = VolumeCache(archive, directory, ROOM)
    cache.volume(archive.add_volume("x", volume(0)))
    found = cache.volume(archive.add_volume("x", volume(1)))
    np.testing.assert_array_equal(found.voxels, volume(1).voxels)
    assert archive.fetches == 2


def test_what_is_cached_needs_no_archive(archive: Counting, directory: Path) -> None:
    case = archive.add_volume("x", volume())
    cache = VolumeCache(archive, directory, ROOM)
    cache.prefetch(case)
    archive.available = False
    assert cache.volume(case)
    with pytest.raises(ArchiveUnavailable):
        cache.volume(Case("y", "file", "1"))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_never_served(archive: Counting, directory: Path, ending: str, damage: str) -> None:
    datasets, truth = ct_series()
    case = archive.add_series(datasets)
    VolumeCache(archive, directory, ROOM).prefetch(case)
    (path,) = directory.glob(f"*{ending}")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        for at in range(0, len(content), max(1, len(content) // 7)):
            content[at] ^= 0x10
    path.write_bytes(content if damage == "flip" else content[:-3])
    if damage == "remove":
        path.unlink()
    cache = VolumeCache(archive, directory, ROOM)
    np.testing.assert_array_equal(cache.volume(case).voxels, truth.voxels)
    assert len(cache.headers(case)) == 9
    assert archive.fetches == 2
    if damage == "flip":
        assert cache.counts.corrupt == 1
    assert VolumeCache(archive, directory, ROOM).volume(case).geometry.difference(truth.geometry) is None


@pytest.mark.parametrize("position", range(12))
def test_one_flipped_byte_of_the_description_is_noticed(archive: Counting, directory: Path, position: int) -> None:
    given = volume()
    case = archive.add_volume("x", given)
    VolumeCache(archive, directory, ROOM).prefetch(case)
    (path,) = directory.glob("*.json")
    content = bytearray(path.read_bytes())
    content[position * (len(content) - 1) // 11] ^= 0x01
    path.write_bytes(content)
    found = VolumeCache(archive, directory, ROOM).volume(case)
    np.testing.assert_array_equal(found.geometry.affine, given.geometry.affine)
    np.testing.assert_array_equal(found.voxels, given.voxels)


def test_damage_while_running_is_noticed_by_what_the_file_looks_like(archive: Counting, directory: Path) -> None:
    case = archive.add_volume("x", volume())
    cache = VolumeCache(archive, directory, ROOM)
    path = cache.nifti(case).path
    time.sleep(0.02)
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"\xff" * 8)
    np.testing.assert_array_equal(cache.volume(case).voxels, volume().voxels)
    assert cache.counts.corrupt == 1


def test_verifies_once_then_trusts(archive: Counting, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = archive.add_volume("x", volume())
    VolumeCache(archive, directory, ROOM).prefetch(case)
    verified = []
    real = cache_module.Entry.verify
    monkeypatch.setattr(cache_module.Entry, "verify", lambda self: (verified.append(1), real(self)))
    cache = VolumeCache(archive, directory, ROOM)
    for _ in range(3):
        cache.volume(case)
        cache.nifti(case)
    assert len(verified) == 1
    assert cache.counts.hits == 6


def test_the_least_recently_used_go_first(archive: Counting, directory: Path) -> None:
    cases = [archive.add_volume(str(number), volume(number)) for number in range(4)]
    one = volume().voxels.nbytes + 5000
    cache = VolumeCache(archive, directory, 3 * one)
    for case in cases[:3]:
        cache.prefetch(case)
    cache.volume(cases[0])
    held = cache.volume(cases[1])
    cache.prefetch(cases[3])
    assert cache.counts.evicted == 1
    assert cache.counts.bytes <= 3 * one
    assert sum(path.stat().st_size for path in directory.iterdir()) == cache.counts.bytes
    cache.volume(cases[0])
    assert archive.fetches == 4
    cache.volume(cases[2])
    assert archive.fetches == 5
    for number in (2, 3, 0):
        cache.volume(cases[number])
    np.testing.assert_array_equal(held.voxels, volume(1).voxels)


def test_the_order_of_use_outlives_a_restart(archive: Counting, directory: Path) -> None:
    cases = [archive.add_volume(str(number), volume(number)) for number in range(3)]
    one = volume().voxels.nbytes + 5000
    cache = VolumeCache(archive, directory, 3 * one)
    for case in (*cases, cases[0]):
        time.sleep(0.02)
        cache.volume(case)
    again = VolumeCache(archive, directory, 2 * one)
    assert again.counts.evicted == 1
    again.volume(cases[0])
    again.volume(cases[2])
    assert archive.fetches == 3


def test_however_many_ask_it_is_fetched_once(archive: Counting, directory: Path) -> None:
    given = volume()
    case, other = archive.add_volume("x", given), archive.add_volume("y", volume(1))
    cache = VolumeCache(archive, directory, ROOM)
    archive.gate.clear()
    found: list[Volume] = []
    threads = [threading.Thread(target=lambda: found.append(cache.volume(case))) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    archive.gate.set()
    cache.volume(other)
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert archive.fetches == 2
    assert cache._case_locks == {}
    for each in found:
        np.testing.assert_array_equal(each.voxels, given.voxels)


def test_who_waits_can_be_stopped_and_who_stops_stops_nobody_else(archive: Counting, directory: Path) -> None:
    case = archive.add_volume("x", volume())
    cache = VolumeCache(archive, directory, ROOM)
    archive.gate.clear()
    stop = threading.Event()
    outcomes: dict[str, object] = {}

    def ask(name: str, progress: Progress) -> None:
        try:
            outcomes[name] = cache.volume(case, progress)
        except Cancelled as error:
            outcomes[name] = error

    def stoppable(done: float, text: str = "") -> None:
        if stop.is_set():
            raise Cancelled

    threads = [threading.Thread(target=ask, args=("first", stoppable))]
    threads[0].start()
    time.sleep(0.1)
    threads += [
        threading.Thread(target=ask, args=(name, p)) for name, p in (("waits", stoppable), ("stays", ignore_progress))
    ]
    for thread in threads[1:]:
        thread.start()
    time.sleep(0.05)
    stop.set()
    threads[0].join()
    threads[1].join()
    archive.gate.set()
    threads[2].join()
    assert isinstance(outcomes["first"], Cancelled)
    assert isinstance(outcomes["waits"], Cancelled)
    assert isinstance(outcomes["stays"], Volume)


def test_many_threads_in_a_small_cache_all_get_what_they_asked_for(archive: Counting, directory: Path) -> None:
    cases = [archive.add_volume(str(number), volume(number)) for number in range(6)]
    cache = VolumeCache(archive, directory, 2 * volume().voxels.nbytes + 12_000)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        order = np.random.default_rng(seed).integers(0, 6, 25)
        try:
            for number in order:
                np.testing.assert_array_equal(cache.volume(cases[number]).voxels, volume(int(number)).voxels)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_leftovers_of_a_crash_are_taken_away(archive: Counting, directory: Path) -> None:
    case = archive.add_volume("x", volume())
    VolumeCache(archive, directory, ROOM).prefetch(case)
    for ending in (".nii.0123456789ab.tmp", ".nii", ".headers"):
        (directory / f"abc{ending}").write_bytes(b"half")
    cache = VolumeCache(archive, directory, ROOM)
    assert not list(directory.glob("abc*"))
    cache.volume(case)
    assert archive.fetches == 1


def test_what_another_process_writes_is_left_alone(
    archive: Counting, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks like leftovers as long as its description isn't there."""
    seen: set[str] = set()
    real = cache_entry._description

    def described(*args: Any) -> bytes:
        start = (
            "import sys, pathlib; from app.archives.cache_entry import remove_leftovers;"
            " remove_leftovers(pathlib.Path(sys.argv[1]))"
        )
        subprocess.run([sys.executable, "-c", start, str(directory)], check=True, timeout=60)
        seen.update(path.suffix for path in directory.iterdir())
        return real(*args)

    monkeypatch.setattr(cache_entry, "_description", described)
    case = archive.add_volume("x", volume())
    VolumeCache(archive, directory, ROOM).nifti(case)
    assert seen == {".headers", ".nii"}
    np.testing.assert_array_equal(VolumeCache(archive, directory, ROOM).volume(case).voxels, volume().voxels)
    assert archive.fetches == 1


def test_starting_while_another_process_makes_room(
    archive: Counting, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [archive.add_volume(name, volume()) for name in "xy"]
    first = VolumeCache(archive, directory, ROOM)
    for case in cases:
        first.nifti(case)
    listed = Path.glob

    def glob(self: Path, pattern: str) -> Iterator[Path]:
        found = list(listed(self, pattern))
        if pattern == "*.json" and found:
            cache_entry.remove_entry(directory, found[0].stem)
        return iter(found)

    monkeypatch.setattr(Path, "glob", glob)
    started = VolumeCache(archive, directory, ROOM)
    monkeypatch.undo()
    assert 0 < started.counts.bytes < first.counts.bytes


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many more entries there is room for."""
    left = [0]
    real = cache_module.write_entry

    def write(*args: object) -> object:
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left[0] -= 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(cache_module, "write_entry", write)
    return left


def test_a_full_disk_is_no_reason_not_to_show_a_volume(
    archive: Counting, directory: Path, full_disk: list[int]
) -> None:
    datasets, truth = ct_series()
    case = archive.add_series(datasets)
    cache = VolumeCache(archive, directory, ROOM)
    np.testing.assert_array_equal(cache.volume(case).voxels, truth.voxels)
    assert len(cache.headers(case)) == 9
    cache.drain()
    with pytest.raises(ResourceExhausted):
        cache.nifti(case)
    assert cache.counts.uncached == 2
    assert list(directory.iterdir()) == []
    full_disk[0] = 1
    assert cache.nifti(case)


def test_a_full_disk_is_emptied_before_that(
    archive: Counting, directory: Path, full_disk: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk[0] = 1
    first, second = (archive.add_volume(str(number), volume(number)) for number in range(2))
    cache = VolumeCache(archive, directory, ROOM)
    cache.prefetch(first)
    real = cache._evict_one

    def evict() -> int:
        full_disk[0] += 1
        return real()

    monkeypatch.setattr(cache, "_evict_one", evict)
    assert cache.nifti(second)
    assert cache.counts.evicted == 1


def test_a_real_full_disk(archive: Counting, tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk takes root")
    try:
        large = Volume(phantom((20, 100, 100)), grid((20, 100, 100)))
        case, small = archive.add_volume("large", large), archive.add_volume("small", volume())
        cache = VolumeCache(archive, mount, ROOM)
        np.testing.assert_array_equal(cache.volume(case).voxels, large.voxels)
        with pytest.raises(ResourceExhausted):
            cache.nifti(case)
        assert list(mount.iterdir()) == []
        assert cache.nifti(small)
        del cache
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


def test_what_is_larger_than_the_cache_is_served_and_not_kept(archive: Counting, directory: Path) -> None:
    cache = VolumeCache(archive, directory, 1000)
    case = archive.add_volume("x", volume())
    np.testing.assert_array_equal(cache.volume(case).voxels, volume().voxels)
    cache.drain()
    assert list(directory.iterdir()) == []
    assert cache.counts.uncached == 1


def test_too_little_memory_is_said(archive: Counting, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = archive.add_volume("x", volume())
    monkeypatch.setattr(archive, "fetch", lambda *args: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(ResourceExhausted, match="memory"):
        VolumeCache(archive, directory, ROOM).volume(case)
