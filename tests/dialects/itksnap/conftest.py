from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dialects.itksnap.site import Site, opened


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    """A server that the tests of a file share: none of them minds what the others drew."""
    with opened(tmp_path_factory.mktemp("site")) as one:
        yield one
