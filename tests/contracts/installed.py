"""A package with a model type, as pip would have put it somewhere on the path: its module and its `dist-info`."""

from __future__ import annotations

import textwrap
from pathlib import Path

MODULE = '''
    """A model of somebody else's: a point sets the three lines of voxels through it."""

    from app.core.model import ModelCard
    from app.core.prompt import InitialMask, Point
    from app.models.checks import check_volume
    from app.models.options import chosen
    from app.models.registry import ModelType
    from app.models.session import PromptSession


    class Cross:
        accepts = frozenset({Point, InitialMask})

        def __init__(self, name):
            self.card = ModelCard(name, "interactive", "Draws a cross through each point.", version="7")

        def open(self, volume, options):
            check_volume(volume)
            chosen(self.card, options)
            return PromptSession(volume.geometry.shape, self.accepts, _grow, self.card.version)

        def session_bytes(self, volume):
            return 3 * volume.geometry.voxel_count


    def _grow(prompts, mask):
        grown = mask.copy()
        for point in prompts:
            if isinstance(point, Point):
                k, j, i = point.at
                grown[:, j, i] = grown[k, :, i] = grown[k, j, :] = point.include
        return grown


    CROSS = ModelType("cross", "interactive", build=lambda name, options, device: Cross(name))
'''


def install(folder: Path) -> Path:
    """Install `cross_models` into a folder; it offers the model type `cross`, and `ruin`, which can't be imported."""
    (folder / "cross_models.py").write_text(textwrap.dedent(MODULE))
    info = folder / "cross_models-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cross-models\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[segloop.models]\ncross = cross_models:CROSS\nruin = cross_models_that_are_gone:RUIN\n"
    )
    return folder
