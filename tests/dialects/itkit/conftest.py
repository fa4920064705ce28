from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dialects.itkit.site import Site, opened


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    """A server with an automatic model of its own, and nothing loaded."""
    with opened(tmp_path) as one:
        yield one


@pytest.fixture
def bare(tmp_path) -> Iterator[Site]:
    """A server that has nothing to segment with until something is loaded."""
    with opened(tmp_path, own=False) as one:
        yield one
