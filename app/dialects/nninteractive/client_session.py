"""What a lease holds: one client's image, and the session on it.

The client keeps a buffer of its own and is only sent what changes, so the server has to know what that buffer holds.
It is the session's mask, except after `/set_target_buffer` in the middle of things: then the client starts from zero.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveModel, Option
from app.core.prompt import InitialMask, Lasso, Prompt, Region, Scribble
from app.core.volume import Geometry, Index, Volume
from app.dialects.nninteractive.capabilities import takes_thick_boxes
from app.dialects.nninteractive.prompts import decode_box, decode_drawn, decode_point, is_thick, painted
from app.dialects.nninteractive.requests import BoxBody, DrawnMeta, InitialMeta, PointBody, Prompted, TargetBody
from app.errors import BadInput, BadPrompt, Conflict
from app.services import Services
from app.services.prompting.images import Space
from app.services.prompting.log import Viewer
from app.services.prompting.service import Change

NOTHING = Change(None, None)


@dataclass(frozen=True)
class Outcome:
    """What to answer: whether something was predicted or undone, the change, and the type of the client's buffer."""

    ran: bool
    change: Change
    dtype: np.dtype[np.generic]


@dataclass(eq=False)
class _Open:
    """An image that was sent. The client's buffer is `targeted` once it was announced, and of type `dtype`; `fresh`
    says that it is all zero whatever the mask is."""

    session_id: str
    model: str
    shape: Index
    dtype: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.uint8))
    targeted: bool = False
    fresh: bool = False


class ClientSession:
    """One lease's state. `_lock` is held while a request works, which may wait for the desk; never the other way round.

    Methods raise what the desk raises, `BadInput` and `BadPrompt` for what can't be used, and `Conflict` for calls that
    come before the ones they need.
    """

    def __init__(self, services: Services, owner: str) -> None:
        self._services = services
        self._desk = services.prompting
        self._owner = owner
        self._zoom: bool | None = None
        self._open: _Open | None = None
        self._lock = threading.Lock()

    def set_image(self, space: Space, spacing: tuple[float, float, float], who: str) -> None:
        """`space` has an image `(c, k, j, i)` with one channel, of any real type; `spacing` along `k, j, i`."""
        image = space.voxels.view()
        image.flags.writeable = False  # it is its file's content from now on
        if image.ndim != 4 or image.shape[0] != 1:
            raise BadInput(f"an image has shape (1, k, j, i), this one {image.shape}; send one channel")
        model = self._services.models.default_interactive()
        options: dict[str, Option] = {}
        if self._zoom is not None and "autozoom" in self._services.models.card(model).options:
            options["autozoom"] = self._zoom
        geometry = Geometry((k := image.shape[1], j := image.shape[2], i := image.shape[3]), _affine(spacing))
        volume = Volume(image[0], geometry)
        with self._lock:
            before, self._open = self._open, None
            if before is not None:
                self._desk.close(before.session_id, self._owner)
            viewer = Viewer("nnInteractive", who)
            session_id = self._desk.open_image(self._owner, volume, False, model, options, viewer, space)
            self._open = _Open(session_id, model, (k, j, i))

    def set_target(self, body: TargetBody) -> None:
        dtype = body.buffer_type
        with self._lock:
            opened = self._image()
            if tuple(body.shape) != opened.shape:
                raise BadInput(f"the target buffer has shape {tuple(body.shape)}, the image {opened.shape}")
            opened.fresh = opened.targeted
            opened.targeted, opened.dtype = True, dtype

    def set_zoom(self, zoom: bool) -> None:
        with self._lock:
            self._zoom = zoom
            opened = self._open
            if opened is not None and "autozoom" in self._services.models.card(opened.model).options:
                self._desk.set_options(opened.session_id, self._owner, {"autozoom": zoom})

    def add_point(self, body: PointBody) -> Outcome:
        with self._lock:
            return self._add(self._target(), decode_point(body), body)

    def add_box(self, body: BoxBody) -> Outcome:
        with self._lock:
            opened = self._target()
            if is_thick(body) and not body.override_capability_checks and not takes_thick_boxes(self._model(opened)):
                raise BadPrompt("the box is thicker than a slice; this model takes boxes in one slice only")
            return self._add(opened, decode_box(body, opened.shape), body)

    def add_drawn(self, kind: type[Scribble | Lasso], meta: DrawnMeta, drawn: NDArray[np.generic]) -> Outcome:
        with self._lock:
            opened = self._target()
            return self._add(opened, decode_drawn(kind, meta, drawn, opened.shape), meta)

    def add_initial(self, meta: InitialMeta, voxels: NDArray[np.generic]) -> Outcome:
        """The client has written `voxels` into its buffer already, whatever their values are."""
        with self._lock:
            opened = self._target()
            if voxels.shape != opened.shape:
                raise BadPrompt(f"the initial segmentation has shape {voxels.shape}, the image {opened.shape}")
            mask = painted(voxels)
            refine = meta.run_prediction
            self._desk.add(
                opened.session_id, self._owner, [InitialMask(mask, refine)], unchecked=meta.override_capability_checks
            )
            opened.fresh = False
            if not refine and (mask == voxels).all():
                return self._outcome(opened, False, NOTHING)
            after = self._desk.mask(opened.session_id, self._owner)
            # Against what the client wrote, not against the mask before: that is gone there.
            region = Region.around(after != voxels.view(np.uint8 if voxels.dtype == np.bool_ else voxels.dtype))
            return self._outcome(opened, True, _cut(after, region))

    def predict(self, full_refine: bool) -> Outcome:
        with self._lock:
            opened = self._target()
            change = self._desk.predict(opened.session_id, self._owner, full_refine)
            return self._outcome(opened, change.region is not None, change)

    def undo(self) -> Outcome:
        with self._lock:
            if self._open is None:
                return Outcome(False, NOTHING, np.dtype(np.uint8))
            change = self._desk.undo(self._open.session_id, self._owner)
            return self._outcome(self._open, change is not None, change or NOTHING)

    def reset(self) -> None:
        """The client has emptied its buffer already."""
        with self._lock:
            if self._open is not None:
                self._desk.reset(self._open.session_id, self._owner)
                self._open.fresh = False

    def shape(self) -> Index:
        """Of the image, `(k, j, i)`."""
        opened = self._open
        if opened is None:
            raise Conflict("there is no image yet; send it first")
        return opened.shape

    def close(self) -> None:
        """Give memory back; what was done stays on disk."""
        with self._lock:
            opened, self._open = self._open, None
            if opened is not None:
                self._desk.close(opened.session_id, self._owner)

    def _add(self, opened: _Open, prompt: Prompt, said: Prompted) -> Outcome:
        change = self._desk.add(
            opened.session_id,
            self._owner,
            [prompt],
            predict=said.run_prediction,
            unchecked=said.override_capability_checks,
        )
        return self._outcome(opened, said.run_prediction, change)

    def _outcome(self, opened: _Open, ran: bool, change: Change) -> Outcome:
        if opened.fresh and ran:
            # Everything that is in the mask is new to a buffer of zeros.
            mask = self._desk.mask(opened.session_id, self._owner)
            change = _cut(mask, Region.around(mask))
            opened.fresh = False
        return Outcome(ran, change, opened.dtype)

    def _image(self) -> _Open:
        if self._open is None:
            raise Conflict("there is no image yet; send it first")
        return self._open

    def _target(self) -> _Open:
        opened = self._image()
        if not opened.targeted:
            raise Conflict("there is no target buffer yet; set it first")
        return opened

    def _model(self, opened: _Open) -> InteractiveModel:
        return self._services.models.interactive(opened.model)


def _affine(spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Axis-parallel, from `k, j, i` millimetres; where the image lies isn't said."""
    k, j, i = spacing
    return np.diag([i, j, k, 1.0])


def _cut(mask: NDArray[np.uint8], region: Region | None) -> Change:
    return NOTHING if region is None else Change(region, mask[region.slices].copy())
