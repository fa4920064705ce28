"""The one place that touches the nnInteractive library (2.6): loading a network, opening a bare session, its prints.

Names that start with an underscore are the library's; its own server uses the same ones.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from app.core.volume import Volume
from app.errors import BadFile, BadInput
from app.models.device import Device
from app.models.nninteractive.folder import ModelFolder, check_checkpoint
from app.models.nninteractive.patches import fit_plans, limit_patches
from app.models.precision import in_precision
from app.models.trained.networks import replace_weights
from app.models.trained.spec import read_weights

Storage = Literal["blosc2", "tensor", "auto"]
"""How a session keeps its seven channels of prompts: compressed, or dense (4 times the memory, 50 ms less a click)."""


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model in memory: what its folder says, and the library's artifacts with the one network all sessions share."""

    folder: ModelFolder
    artifacts: dict[str, Any]


@dataclass(frozen=True)
class Capabilities:
    """What a model takes, in nnInteractive's own terms (`/capabilities` of its client/server protocol, 2.6).

    `channel_mapping` gives for each kind of prompt the channels of what is included and excluded, and for `prev_seg`
    one channel. `patch_size` is in the image's axis order.
    """

    supported_interactions: Mapping[str, bool]
    channel_mapping: Mapping[str, int | tuple[int, int]]
    num_interaction_channels: int
    supports_initial_label: bool
    supports_zero_shot_label_refinement: bool
    preferred_scribble_thickness: tuple[float, ...]
    interaction_decay: float
    session_version: str
    patch_size: tuple[int, ...]


def load_model(folder: ModelFolder, device: Device) -> LoadedModel:
    """Check and load a model's weights onto the device.

    Raises:
        BadFile: the checkpoint holds more than weights or doesn't fit its plans.
    """
    artifacts = load_artifacts(folder, device.torch_name)
    # The library leaves the network in training mode and with gradients.
    network = artifacts["network"].eval().requires_grad_(False)
    if device.torch_name == "cpu" or device.precision == "bf16":
        # On cards the library itself computes in half precision; only bfloat16 has to be asked for.
        network = in_precision(network, device.precision, device.torch_name)
    loaded = LoadedModel(folder, {**artifacts, "network": network})
    session = _session(device.torch_name, "tensor", autozoom=False)
    session.initialize_from_loaded_artifacts(loaded.artifacts)
    device.run(session.warmup)  # cuDNN tunes per thread; does nothing on a processor
    return loaded


def load_artifacts(folder: ModelFolder, torch_name: str = "cpu") -> dict[str, Any]:
    """The library's artifacts of a model folder, with the folder's `trained` weights in the network.

    Raises:
        BadFile: the checkpoint holds more than weights or doesn't fit its plans, or the trained weights don't fit it.
        IntegrityError: the trained weights are not those that were stored.
    """
    check_checkpoint(folder)
    session = _session(torch_name, "tensor", autozoom=False)
    try:
        artifacts: dict[str, Any] = session._load_model_artifacts_from_disk(str(folder.path))
    except (RuntimeError, KeyError, ImportError, AssertionError, TypeError) as error:
        raise BadFile(f"nnInteractive can't load {folder.path}: {error}") from error
    if folder.trained is not None:
        replace_weights(artifacts["network"], read_weights(folder.trained, folder.trained_sha256), str(folder.trained))
    return artifacts


def open_session(loaded: LoadedModel, volume: Volume, device: Device, storage: Storage, *, autozoom: bool) -> Any:
    """The library's session on a volume, preprocessed, without a target buffer yet.

    Raises:
        BadInput: the voxels can't be normalised.
    """
    import torch

    session = _session(device.torch_name, storage, autozoom=autozoom)
    session.initialize_from_loaded_artifacts(loaded.artifacts)
    if loaded.folder.patches is None:
        fit_plans(session)
    else:
        limit_patches(session, loaded.folder.patches)
    session.set_image(volume.voxels[None])
    # Waited for here, in the caller's thread, so that errors surface now and the device goes on working meanwhile.
    try:
        session._finish_preprocessing_and_initialize_interactions()
    except ValueError as error:
        raise BadInput(str(error)) from error
    low, high = (float(x) for x in torch.aminmax(session.preprocessed_image))
    if not (-float("inf") < low < high < float("inf")):
        raise BadInput("the volume can't be normalised: its non-zero part is constant, or its values are too large")
    return session


def read_capabilities(artifacts: Mapping[str, Any]) -> Capabilities:
    """What the library makes of a model folder; older folders leave most of it to the library's defaults."""
    session = _session("cpu", "tensor", autozoom=False)
    try:
        session.initialize_from_loaded_artifacts(artifacts)
        channels = {
            name: int(value) if name == "prev_seg" else (int(value[0]), int(value[1]))
            for name, value in session.channel_mapping.items()
        }
        return Capabilities(
            supported_interactions={name: bool(taken) for name, taken in session.supported_interactions.items()},
            channel_mapping=channels,
            num_interaction_channels=int(session.num_interaction_channels),
            supports_initial_label=bool(session.supports_initial_label),
            supports_zero_shot_label_refinement=bool(session.supports_zero_shot_label_refinement),
            preferred_scribble_thickness=tuple(float(x) for x in session.preferred_scribble_thickness),
            interaction_decay=float(session.interaction_decay or 1.0),
            session_version=str(session.INFERENCE_SESSION_VERSION),
            patch_size=tuple(int(n) for n in session.configuration_manager.patch_size),
        )
    finally:
        session.executor.shutdown(wait=False)


@contextmanager
def repeatable() -> Iterator[None]:
    """Let the library draw the same random numbers at every prompt.

    It picks some of the patches that it refines by chance, with numpy's global generator, and a session that is
    replayed has to come out as it was. Everybody else's random numbers go on as if nothing had happened.
    """
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def _session(torch_name: str, storage: Storage, *, autozoom: bool) -> Any:
    import torch
    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    _quieten()
    return nnInteractiveInferenceSession(
        device=torch.device(torch_name),
        # The constructor sets the whole process's number of threads to this.
        torch_n_threads=torch.get_num_threads(),
        do_autozoom=autozoom,
        interactions_storage=storage,
    )


_TALKATIVE = (
    "nnInteractive.inference.inference_session",
    "nnInteractive.interaction.point",
    "nnInteractive.utils.crop",
    "nnunetv2.utilities.find_class_by_name",
    "nnunetv2.utilities.get_network_from_plans",
)


def _quieten() -> None:
    """Send the library's many bare `print`s to the log. Redirecting stdout would catch every other thread's output
    too, so the name `print` is given another meaning inside the modules that use it; doing so again changes nothing.
    """
    for name in _TALKATIVE:
        module = importlib.import_module(name)
        module.__dict__["print"] = _log_print


def _log_print(*values: object, **_: object) -> None:
    logging.getLogger(__name__).debug(" ".join(str(value) for value in values))
