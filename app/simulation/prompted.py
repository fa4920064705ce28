"""What is clicked on: a model in this process, or a server through nnInteractive's official client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveModel
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Scribble
from app.core.volume import Volume
from app.errors import Unavailable
from app.models.device import Device


class Prompted(Protocol):
    """A mask in progress on one image."""

    def add(self, prompt: Prompt) -> NDArray[np.bool_]:
        """Take a prompt; returns the mask `(k, j, i)`, which the next prompt may write to."""

    def reset(self) -> None:
        """Forget all prompts and empty the mask: the next structure."""


class Target(Protocol):
    """Where images can be opened."""

    def open(self, volume: Volume) -> Any:
        """A context with a `Prompted`."""


class ModelTarget:
    """A model of this process, with its default options, on the device thread as in the server."""

    def __init__(self, model: InteractiveModel, device: Device) -> None:
        self._model = model
        self._device = device

    @contextmanager
    def open(self, volume: Volume) -> Iterator[Prompted]:
        session = self._model.open(volume, {})
        try:
            yield _InProcess(session, self._device)
        finally:
            session.close()


class _InProcess:
    def __init__(self, session: Any, device: Device) -> None:
        self._session = session
        self._device = device

    def add(self, prompt: Prompt) -> NDArray[np.bool_]:
        self._device.run(lambda: self._session.add(prompt))
        return np.asarray(self._session.mask, np.bool_)

    def reset(self) -> None:
        self._device.run(self._session.reset)


class ServerTarget:
    """A server's nnInteractive protocol at `url`, with what a client gets by default."""

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url
        self._token = token

    @contextmanager
    def open(self, volume: Volume) -> Iterator[Prompted]:
        """Raises `Unavailable` as soon as the server can't be reached any more."""
        import httpx
        from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession

        try:
            session = nnInteractiveRemoteInferenceSession(self._url, api_key=self._token or None)
            try:
                mask = np.zeros(volume.geometry.shape, np.uint8)
                session.set_image(np.ascontiguousarray(volume.voxels)[None])
                session.set_target_buffer(mask)
                yield _OverHttp(session, mask)
            finally:
                session.close()
        except httpx.TransportError as error:
            raise Unavailable(f"the server at {self._url} can't be reached: {error}; is it running?") from error


class _OverHttp:
    def __init__(self, session: Any, mask: NDArray[np.uint8]) -> None:
        self._session = session
        self._mask = mask

    def add(self, prompt: Prompt) -> NDArray[np.bool_]:
        session = self._session
        if isinstance(prompt, Point):
            session.add_point_interaction(prompt.at, prompt.include)
        elif isinstance(prompt, InitialMask):
            session.add_initial_seg_interaction(prompt.voxels.astype(np.uint8))
        else:
            bounds = [list(side) for side in zip(prompt.region.low, prompt.region.high, strict=True)]
            if isinstance(prompt, Box):
                session.add_bbox_interaction(bounds, prompt.include)
            else:
                draw = {Scribble: session.add_scribble_interaction, Lasso: session.add_lasso_interaction}[type(prompt)]
                draw(prompt.voxels.astype(np.uint8), prompt.include, interaction_bbox=bounds)
        return np.asarray(self._mask, np.bool_)

    def reset(self) -> None:
        self._session.reset_interactions()
