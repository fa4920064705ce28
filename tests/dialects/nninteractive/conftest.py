from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dialects.nninteractive.site import Site, opened


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """A server that the tests of a file share: each has leases of its own."""
    with opened(tmp_path_factory.mktemp("site") / "workspace") as one:
        yield one
