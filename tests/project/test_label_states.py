"""Labels of an older segloop: what they say of each structure is read from their files when the project is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from app.core.label import Submission
from app.core.mask import Mask
from app.project.label_commit import commit_label
from app.project.project import Project
from tests.catalog.baseline import execute
from tests.learning.phantoms import archive, geometry, settings


def test_older_labels_are_read_once(tmp_path: Path) -> None:
    held, made = archive(1), settings(tmp_path)
    project = Project.open(made, held)
    project.catalog.cases.apply(held.list(None), "cursor")
    case = project.catalog.cases.get("case-0")
    labelmap = np.zeros(geometry().shape, np.uint8)
    labelmap[3] = 2
    for number in range(2):
        mask = Mask.single(labelmap, ["bright", "dark"], geometry())
        label = commit_label(project, case, mask, Submission("ann", "test"), f"sent {number}")
        assert label.states == {"bright": "absent", "dark": "segmented"}
    project.labels.path(label).unlink()
    project.close()
    execute(tmp_path / "catalog.sqlite", "UPDATE label SET states = NULL")

    for _ in range(2):
        project = Project.open(made, held)
        first, second = project.catalog.labels.history("case-0")
        assert first.states == {"bright": "not_examined", "dark": "segmented"}
        assert first.examined == {"dark"}
        assert second.states == {}, "its file is lost: nothing is known"
        assert project.catalog.labels.without_states() == []
        project.close()
