from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom import Dataset

from tests.dialects.dicomweb.site import Site, series, serving, write


@pytest.fixture(scope="module")
def kinds() -> dict[str, list[Dataset]]:
    return series()


@pytest.fixture(scope="module")
def site(tmp_path_factory, kinds) -> Iterator[Site]:
    """A server that the tests of a file share: none of them minds what the others stored."""
    folder = tmp_path_factory.mktemp("site")
    write(kinds, folder / "studies")
    with serving(folder, folder / "studies") as one:
        yield one
