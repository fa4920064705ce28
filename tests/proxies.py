"""Debian's nginx and Caddy with the shipped configurations, with TLS, on a free port of the loopback interface."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.orthanc import free_port

CONFIGS = Path(__file__).parents[1] / "configs"
PROXIES = ("nginx", "caddy")
HOST = "segloop.example.org"
PREFIX = "/segloop"


@dataclass(frozen=True)
class Proxy:
    """`url` ends without a slash; `certificate` is who signed it: itself."""

    url: str
    certificate: Path


@contextmanager
def in_front(program: str, folder: Path, upstream: int, prefix: str) -> Iterator[Proxy]:
    """The shipped configuration of `program`, changed as its comments say for the prefix "", in front of a port. Skips
    the test if the program isn't installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed (apt-get install {program})")
    folder.mkdir(parents=True, exist_ok=True)
    certificate, key = certified(folder)
    port = free_port()
    write = {"nginx": _nginx, "caddy": _caddy}[program]
    command = [path, *write(folder, port, prefix)]
    file = folder / "site"
    text = file.read_text()
    for shipped, here in {
        "/etc/ssl/segloop.pem": str(certificate),
        "/etc/ssl/private/segloop.key": str(key),
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
    }.items():
        assert shipped in text, shipped
        text = text.replace(shipped, here)
    file.write_text(text)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})
    try:
        _wait_for(process, port, folder / "log")
        yield Proxy(f"https://127.0.0.1:{port}{prefix}", certificate)
    finally:
        process.terminate()
        process.wait(30)


def certified(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    certificate, key = folder / "proxy.pem", folder / "proxy.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=30)
    return certificate, key


def _nginx(folder: Path, port: int, prefix: str) -> list[str]:
    text = (CONFIGS / "nginx.conf").read_text()
    text = _changed(text, "listen 443", f"listen 127.0.0.1:{port}")
    text = _changed(text, "/var/log/nginx/segloop.log", str(folder / "nginx.log"))
    if not prefix:
        text = _changed(text, f"location {PREFIX}/ {{", "location / {")
    (folder / "site").write_text(text)
    main = folder / "nginx.conf"
    paths = "".join(
        f"{name}_temp_path {folder / name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    main.write_text(
        f"{user}\ndaemon off;\nworker_processes 1;\npid {folder / 'pid'};\nerror_log stderr;\nevents {{}}\n"
        f"http {{\n{paths}include {folder / 'site'};\n}}\n"
    )
    return ["-p", str(folder), "-e", "stderr", "-c", str(main)]


def _caddy(folder: Path, port: int, prefix: str) -> list[str]:
    text = (CONFIGS / "Caddyfile").read_text()
    text = _changed(text, f"https://{HOST} {{", f"https://127.0.0.1:{port} {{")
    # Nothing else of this machine is touched: no port 80, no control port.
    text = _changed(text, "\n{\n", "\n{\n\tadmin off\n\tauto_https disable_redirects\n")
    text = _changed(text, "grace_period 10s", "grace_period 100ms")
    if not prefix:
        text = _changed(text, f"\tredir {PREFIX} {PREFIX}/\n", "")
        text = _changed(text, f"reverse_proxy {PREFIX}/* ", "reverse_proxy ")
    (folder / "site").write_text(text)
    return ["run", "--config", str(folder / "site"), "--adapter", "caddyfile"]


def _changed(text: str, shipped: str, here: str) -> str:
    assert text.count(shipped) == 1, shipped
    return text.replace(shipped, here)


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain):
                return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"the proxy doesn't answer: {log.read_text()}")
