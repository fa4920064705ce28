from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dialects.monailabel.site import Site, opened


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """A server that the tests of a file share: none of them minds what the others did."""
    with opened(tmp_path_factory.mktemp("site")) as one:
        yield one


@pytest.fixture
def fresh(tmp_path) -> Iterator[Site]:
    """A server of one's own, for tests that count what there is."""
    with opened(tmp_path / "workspace") as one:
        yield one
