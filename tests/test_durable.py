"""Files are whole or not there, whatever writes them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from app.dicom.seg import SegOptions, write_seg
from app.dicom.series import assemble
from app.durable import write_durably
from tests.dicom.masks import random_mask
from tests.dicom.synthetic import ct_series, uid


def test_never_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = assemble(ct_series()[0])
    mask = random_mask(source.volume.geometry, 1)
    options = SegOptions(sop_instance_uid=uid("instance"), series_uid=uid("series"))
    path = tmp_path / "a.dcm"
    digest = write_durably(path, lambda file: write_seg(mask, source.headers, file, options))
    before = path.read_bytes()
    assert digest == hashlib.sha256(before).hexdigest()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.durable.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, lambda file: write_seg(mask, source.headers, file, options))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_file_and_every_new_folder_are_flushed_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "a" / "b" / "file.bin"
    flushed: list[tuple[str, bool]] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        flushed.append((os.readlink(f"/proc/self/fd/{descriptor}"), final.exists()))
        fsync(descriptor)

    monkeypatch.setattr("app.durable.os.fsync", noted)
    write_durably(final, lambda file: file.write(b"content"))
    paths = [path if not Path(path).name.startswith(".writing-") else "temporary" for path, _ in flushed]
    assert paths == [str(tmp_path), str(tmp_path / "a"), "temporary", str(tmp_path / "a" / "b")]
    assert [named for _, named in flushed] == [False, False, False, True]
    assert final.read_bytes() == b"content"
    assert final.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_went_away_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_durably(tmp_path / "gone" / "file", lambda file: file.write(b""), parents=False)
    assert list(tmp_path.iterdir()) == []
