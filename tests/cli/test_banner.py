"""What the start prints: for each viewer what to type, and the token in the form that the viewer can carry."""

from __future__ import annotations

import pytest

from app.cli.banner import banner
from app.settings import Settings

VIEWERS = [
    "3D Slicer, module MONAI Label",
    "OHIF, MONAI Label extension",
    "ITK-SNAP",
    "3D Slicer, nnInteractive 1.x",
    "3D Slicer, nnInteractive up to 0.3",
    "napari, nnInteractive",
    "Python, nninteractive-client",
    "3D Slicer, module ITKIT",
    "MITK",
    "Python, MONAI Label",
]


def line(text: str, viewer: str) -> str:
    return next(line for line in text.splitlines() if line.strip().startswith(viewer))


def test_every_viewer_has_its_line() -> None:
    text = banner(Settings(), "", [8000])
    for viewer in VIEWERS:
        assert line(text, viewer)


def test_on_loopback_there_is_no_token() -> None:
    text = banner(Settings(), "", [8123])
    assert line(text, "3D Slicer, module MONAI Label").endswith("server: http://127.0.0.1:8123")
    assert line(text, "OHIF").endswith("server: http://127.0.0.1:8123/")
    assert line(text, "ITK-SNAP").endswith("host: 127.0.0.1   port: 8123")
    assert line(text, "3D Slicer, nnInteractive up to").endswith("server: http://127.0.0.1:8123/u/NAME")
    assert "/t/" not in text
    assert "API key" not in text
    assert "token" not in text


def test_a_token_comes_in_the_form_that_each_viewer_can_carry() -> None:
    text = banner(Settings(host="10.0.0.7", token="s3cret"), "s3cret", [8000])  # type: ignore[arg-type]
    assert line(text, "3D Slicer, module MONAI Label").endswith("http://10.0.0.7:8000/t/s3cret")
    assert line(text, "3D Slicer, nnInteractive 1.x").endswith("server: http://10.0.0.7:8000   API key: s3cret")
    assert line(text, "3D Slicer, nnInteractive up to").endswith("http://10.0.0.7:8000/t/s3cret/u/NAME")
    assert line(text, "ITK-SNAP").endswith("host: user:s3cret@10.0.0.7   port: 8000")
    assert "untested" in text.splitlines()[text.splitlines().index(line(text, "ITK-SNAP")) + 1]
    assert line(text, "Python, nninteractive").endswith('("http://10.0.0.7:8000", api_key="s3cret")')
    assert "Plain HTTP" in text


def test_other_ports_are_told_to_those_who_have_them_as_default() -> None:
    text = banner(Settings(), "", [8000, 8911, 1527])
    assert "ports 8000, 8911, 1527" in text
    assert line(text, "ITK-SNAP").endswith("port: 8911")
    assert line(text, "3D Slicer, nnInteractive 1.x").endswith("server: http://127.0.0.1:1527")
    assert line(text, "3D Slicer, module MONAI Label").endswith(":8000")


def test_an_ipv6_address_keeps_its_brackets() -> None:
    text = banner(Settings(host="::1"), "", [8000, 8911])
    assert line(text, "3D Slicer, module MONAI Label").endswith("http://[::1]:8000")
    assert line(text, "ITK-SNAP").endswith("host: [::1]   port: 8911")


def test_a_pod_has_its_public_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_POD_ID", "abc123")
    monkeypatch.setenv("RUNPOD_PUBLIC_IP", "203.0.113.7")
    monkeypatch.setenv("RUNPOD_TCP_PORT_8000", "40123")
    text = banner(Settings(host="0.0.0.0", pod=True, also_ports=[8911]), "tok", [8000, 8911])
    assert "https://abc123-8000.proxy.runpod.net/t/tok/" in text
    assert "http://203.0.113.7:40123/t/tok/" in text
    # ITK-SNAP takes https for port 443 only, which is what the proxy has.
    assert "host: user:tok@abc123-8000.proxy.runpod.net   port: 443" in text
    assert "host: user:tok@203.0.113.7   port: 40123" in text
