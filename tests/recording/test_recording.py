"""A tree compared with itself: everything that chance decides is masked, and nothing that a client would notice."""

from __future__ import annotations

import copy

import pytest

from tests.recording.compare import Noted, differences
from tests.recording.record import record
from tests.recording.server import HERE, Tree
from tests.recording.studies import Studies

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def twice(tmp_path_factory) -> tuple[list[Noted], list[Noted]]:
    tree, studies = Tree("this tree", HERE), Studies()
    tree.check()
    one, two = (record(tree, "folder", tmp_path_factory.mktemp("run"), studies, ["itksnap", "pages"]) for _ in range(2))
    return one, two


def test_two_recordings_of_a_tree_are_the_same(twice: tuple[list[Noted], list[Noted]]) -> None:
    assert len(twice[0]) > 150
    assert [str(one) for one in differences(*twice)] == []


def test_no_script_ended_early(twice: tuple[list[Noted], list[Noted]]) -> None:
    assert [noted.request for noted in twice[0] if noted.answer["status"] == 0] == []


def test_a_voxel_and_a_header_are_in_the_recording(twice: tuple[list[Noted], list[Noted]]) -> None:
    changed = copy.deepcopy(twice[1])
    click = next(n for n, noted in enumerate(changed) if "result" in (noted.answer["body"] or {}))
    changed[click].answer["body"]["result"]["base64"]["gzip"]["sha256"] = "0" * 64
    changed[click].answer["headers"]["cache-control"] = "no-store"
    found = [one.path for one in differences(twice[0], changed)]
    assert found == ["headers.cache-control", "body.result.base64.gzip.sha256"]
