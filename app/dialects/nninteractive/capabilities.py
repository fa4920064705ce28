"""The model's supported prompts (docs/protocols/nninteractive.md, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from app.core.model import InteractiveModel
from app.core.prompt import Box, InitialMask, Lasso, Point, Scribble

_CHANNELS: dict[str, int | tuple[int, int]] = {
    "prev_seg": 0,
    "bbox2d": (1, 2),
    "bbox3d": (1, 2),
    "lasso": (1, 2),
    "points": (3, 4),
    "scribble": (5, 6),
}
"""The channels of nnInteractive's own networks. Clients require this field, also for models without such channels."""

_SPOKEN = "2.6.0"
"""The version of nnInteractive whose protocol this is, for models that are none."""


class _Told(Protocol):
    """The capabilities of nnInteractive models, in the protocol's terms."""

    @property
    def supported_interactions(self) -> Mapping[str, bool]: ...
    @property
    def channel_mapping(self) -> Mapping[str, int | tuple[int, int]]: ...
    @property
    def num_interaction_channels(self) -> int: ...
    @property
    def supports_initial_label(self) -> bool: ...
    @property
    def supports_zero_shot_label_refinement(self) -> bool: ...
    @property
    def preferred_scribble_thickness(self) -> tuple[float, ...]: ...
    @property
    def interaction_decay(self) -> float: ...
    @property
    def session_version(self) -> str: ...
    @property
    def patch_size(self) -> tuple[int, ...]: ...


@runtime_checkable
class _Telling(Protocol):
    def capabilities(self) -> _Told: ...


def capabilities(model: InteractiveModel) -> dict[str, Any]:
    """The response to `/capabilities`. May load the model."""
    card = model.card
    autozoom = bool(card.options.get("autozoom", False))
    common = {"do_autozoom": autozoom, "license": card.licence, "supports_undo": True}
    if isinstance(model, _Telling):
        told = model.capabilities()
        return {
            "supported_interactions": dict(told.supported_interactions),
            "channel_mapping": dict(told.channel_mapping),
            "num_interaction_channels": told.num_interaction_channels,
            "supports_initial_label": told.supports_initial_label,
            "supports_zero_shot_label_refinement": told.supports_zero_shot_label_refinement,
            "preferred_scribble_thickness": list(told.preferred_scribble_thickness),
            "interaction_decay": told.interaction_decay,
            "patch_size": list(told.patch_size),
            "inference_session_version": told.session_version,
            **common,
        }
    return {
        "supported_interactions": {
            "points": Point in model.accepts,
            "bbox2d": Box in model.accepts,
            "bbox3d": Box in model.accepts and card.dimension == 3,
            "scribble": Scribble in model.accepts,
            "lasso": Lasso in model.accepts,
        },
        "channel_mapping": _CHANNELS,
        "num_interaction_channels": 7,
        "supports_initial_label": InitialMask in model.accepts,
        "supports_zero_shot_label_refinement": False,
        "preferred_scribble_thickness": [2, 2, 2],
        "interaction_decay": 1.0,
        "patch_size": None,
        "inference_session_version": _SPOKEN,
        **common,
    }


def takes_thick_boxes(model: InteractiveModel) -> bool:
    """Whether boxes of more than one slice are supported."""
    return bool(capabilities(model)["supported_interactions"]["bbox3d"])
