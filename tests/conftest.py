"""What every test lives with: no network beyond this machine, and the real images beside the checkout, if there."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# Before torch is imported, here and in processes that tests start. Networks in tests are so small that threads would
# wait for each other longer than they compute; and the cores are for the workers, of whom each is one process.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Without its limit of time for each example: a busy machine is no error.
hypothesis.settings.register_profile("quick", deadline=None)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("quick")

SHARED = Path(__file__).parents[2] / "shared" / "data"
"""Real images (see its README); not part of the project."""


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Bytes are no name for a test: two processes that compress the same file a second apart get different ones."""
    return argname if isinstance(val, bytes) and len(val) > 16 else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test-browser` looks into one folder only, which saves it the import of everything else."""
    astray = [one.nodeid for one in items if one.get_closest_marker("browser") and "tests/browser/" not in one.nodeid]
    if astray:
        raise pytest.UsageError(f"tests that need a browser are in tests/browser, unlike {', '.join(astray)}")


def _is_local(address: Any) -> bool:
    if not isinstance(address, tuple):
        return True  # a Unix socket
    host = str(address[0])
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def _loopback_only() -> Iterator[None]:
    """Connecting anywhere but to this machine fails the test that tries it."""
    patch = pytest.MonkeyPatch()
    for name in ("connect", "connect_ex"):
        real = getattr(socket.socket, name)

        def guarded(self: socket.socket, address: Any, real: Any = real) -> Any:
            if not _is_local(address):
                raise PermissionError(f"tests connect to loopback only, not to {address}")
            return real(self, address)

        patch.setattr(socket.socket, name, guarded)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; skips the test where it isn't there."""
    if not SHARED.is_dir():
        pytest.skip("the real images (../shared/data) are not beside this checkout")
    return SHARED
