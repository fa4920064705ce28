"""From npm's tarball to a folder that can be served."""

from __future__ import annotations

import gzip
import os
import tarfile
from pathlib import Path

import pytest

from app.errors import BadFile, SegloopError
from app.web.viewer.install import BASE, NONCE, PINNED, Relocation, Rewrite, fetch, home, install, installed
from tests.web.viewer.tarballs import FILES, release_of, tarball

SCRIPT = "app.bundle.0123456789abcdef.js"
REWRITES = (
    Rewrite(r"[^/]+\.js", rb'__webpack_require__\.p = "/"', b'__webpack_require__.p = "x"', 1),
    Rewrite(r"[^/]+\.css", rb"url\(/(?!/)", b"url(", 1),
)


def test_installs_what_is_needed_and_nothing_else(tmp_path: Path) -> None:
    file = tarball(tmp_path / "a.tgz")
    release = release_of(file)
    assert installed(tmp_path / "viewer", release) is None
    done = install(file, tmp_path / "viewer", release, Relocation(REWRITES))
    folder = home(tmp_path / "viewer", release)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {name for name in names if not name.endswith(".gz")} == {
        "index.html", SCRIPT, "a.css", "assets/logo.svg", "codec.wasm", "segloop.json",
    }  # fmt: skip
    assert installed(tmp_path / "viewer", release) == done
    assert done.files == 5
    assert (folder / SCRIPT).read_text() == FILES[f"package/dist/{SCRIPT}"].replace('"/"', '"x"')
    assert gzip.decompress((folder / f"{SCRIPT}.gz").read_bytes()) == (folder / SCRIPT).read_bytes()
    assert "url(f.woff2)" in (folder / "a.css").read_text()
    assert "url(//other)" in (folder / "a.css").read_text()
    assert [path.name for path in (tmp_path / "viewer").iterdir()] == [folder.name], "no scratch folder is left"

    again = install(file, tmp_path / "viewer", release, Relocation(REWRITES))
    assert again == done


@pytest.mark.parametrize("hits", [0, 2])
def test_a_rewrite_that_hits_another_number_of_times_installs_nothing(tmp_path: Path, hits: int) -> None:
    file = tarball(tmp_path / "a.tgz")
    wrong = Rewrite(r"[^/]+\.js", rb'__webpack_require__\.p = "/"', b"", hits)
    with pytest.raises(BadFile, match=f"1 times, not {hits}"):
        install(file, tmp_path / "viewer", release_of(file), Relocation((wrong,)))
    assert list((tmp_path / "viewer").iterdir()) == []


def test_another_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(b"not a tarball at all")
    with pytest.raises(BadFile, match=r"is not @ohif/app@3\.13\.2"):
        install(tmp_path / "a.tgz", tmp_path / "viewer")
    assert not (tmp_path / "viewer").exists()


def _member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = "/etc/passwd"
    return member


@pytest.mark.parametrize(
    "member",
    [
        _member("/package/dist/a.js"),
        _member("package/dist/../../a.js"),
        _member("package/dist/a.js", tarfile.SYMTYPE),
        _member("package/dist/a.js", tarfile.LNKTYPE),
        _member("package/dist/a.js", tarfile.FIFOTYPE),
        _member("package/dist/a.css"),
    ],
    ids=["absolute", "upwards", "symbolic link", "hard link", "pipe", "twice"],
)
def test_tarballs_that_try_something_are_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    file = tarball(tmp_path / "a.tgz", FILES, member)
    with pytest.raises(BadFile):
        install(file, tmp_path / "viewer", release_of(file), Relocation(()))
    assert list((tmp_path / "viewer").iterdir()) == []


def test_page_gets_places_for_its_base_and_nonce() -> None:
    relocation = Relocation()
    page = relocation.apply("index.html", FILES["package/dist/index.html"].encode())
    assert page.count(BASE) == 3
    assert page.count(NONCE) == 1
    assert b"service-worker" not in page
    with pytest.raises(BadFile, match="another way"):
        relocation.finish()


def test_without_npm_it_says_how_to_get_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SegloopError, match=r"npm pack @ohif/app@3\.13\.2.*--from ohif-app-3\.13\.2\.tgz"):
        fetch(tmp_path)


def test_npm_is_asked_for_the_pinned_release_and_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "npm"
    npm.write_text(
        '#!/bin/sh\necho "$@" > asked\nif [ -e fail ]; then echo E404 >&2; exit 1; fi\ntouch "$4/' + PINNED.file + '"\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    assert fetch(tmp_path) == tmp_path / PINNED.file
    assert (tmp_path / "asked").read_text().startswith("pack @ohif/app@3.13.2 --pack-destination")
    (tmp_path / "fail").touch()
    with pytest.raises(SegloopError, match=r"E404.*bring the file"):
        fetch(tmp_path)
