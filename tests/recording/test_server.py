"""Whose code runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recording.server import HERE, ServerFailed, Tree, checkout


def test_this_tree_is_this_tree() -> None:
    Tree("this tree", HERE).check()


def test_an_installed_application_is_not_taken_for_the_tree_s(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="empty"):
        Tree("empty", tmp_path).check()


def test_a_commit_that_is_not_here_is_refused_and_leaves_nothing() -> None:
    with pytest.raises(ServerFailed, match="0123456789abcdef"), checkout("0123456789abcdef"):
        pass
