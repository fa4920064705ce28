"""The state of a lease: one client's image, and the session on it.

The client has its own copy of the mask (the buffer) and receives only changes, so the server must know its content. It
equals the session's mask, except after a `/set_target_buffer` during a session: then the client starts from zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from app.core.model import Option
from app.core.prompt import InitialMask, Lasso, Prompt, Region, Scribble
from app.core.volume import Geometry, Volume
from app.dialects.nninteractive.capabilities import takes_thick_boxes
from app.dialects.nninteractive.requests import (
    BoxBody,
    DrawnMeta,
    InitialMeta,
    PointBody,
    Prompted,
    TargetBody,
    check_drawn,
    decode_box,
    decode_drawn,
    decode_point,
    is_thick,
    painted,
)
from app.errors import BadInput, BadPrompt, Conflict
from app.services import Services
from app.services.prompting.images import SentImage, Space
from app.services.prompting.log import Viewer
from app.services.prompting.service import Slot
from app.services.prompting.session import Change, Session

NOTHING = Change(None, None)

Unpack = Callable[[], NDArray[np.generic]]
"""Makes an array of what the client sent, once it is known that it can be used."""


@dataclass(frozen=True)
class Outcome:
    """What to answer: whether something was predicted or undone, the change, and the type of the client's buffer."""

    ran: bool
    change: Change
    dtype: np.dtype[np.generic]


@dataclass(eq=False)
class _Buffer:
    """The client's buffer, which is the session's note. It is `targeted` once it was announced, and of type `dtype`;
    `fresh` says that it is all zero whatever the mask is."""

    dtype: np.dtype[np.generic] = field(default_factory=lambda: np.dtype(np.uint8))
    targeted: bool = False
    fresh: bool = False


class ClientSession:
    """One lease's state. Each method is one atomic step, under the session's lock.

    Methods raise what sessions raise, `BadInput` and `BadPrompt` for unusable input, and `Conflict` for calls in the
    wrong order.
    """

    def __init__(self, services: Services, owner: str) -> None:
        self._services = services
        self._owner = owner
        self._zoom: bool | None = None

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
        geometry = Geometry((image.shape[1], image.shape[2], image.shape[3]), _affine(spacing))
        sent = SentImage(Volume(image[0], geometry), placed=False, space=space)
        with self._slot() as slot:
            slot.open(sent, model, options, Viewer("nnInteractive", who)).note = _Buffer()

    def set_target(self, body: TargetBody) -> None:
        dtype = body.buffer_type
        with self._slot() as slot:
            session = _with_image(slot)
            if tuple(body.shape) != session.shape:
                raise BadInput(f"the target buffer has shape {tuple(body.shape)}, the image {session.shape}")
            buffer = _buffer(session)
            buffer.fresh = buffer.targeted
            buffer.targeted, buffer.dtype = True, dtype

    def set_zoom(self, zoom: bool) -> None:
        with self._slot() as slot:
            self._zoom = zoom
            if not slot.empty and "autozoom" in self._services.models.card(slot.session.record.model).options:
                slot.session.set_options({"autozoom": zoom})

    def add_point(self, body: PointBody) -> Outcome:
        with self._slot() as slot:
            return _add(_with_target(slot), decode_point(body), body)

    def add_box(self, body: BoxBody) -> Outcome:
        with self._slot() as slot:
            session = _with_target(slot)
            if is_thick(body) and not body.override_capability_checks and not takes_thick_boxes(session.model):
                raise BadPrompt("the box is thicker than a slice; this model takes boxes in one slice only")
            return _add(session, decode_box(body, session.shape), body)

    def add_drawn(
        self, kind: type[Scribble | Lasso], meta: DrawnMeta, shape: tuple[int, ...], unpack: Unpack
    ) -> Outcome:
        """`shape` is that of the drawing, which is unpacked only if it fits the image."""
        with self._slot() as slot:
            image = _with_image(slot).shape
            check_drawn(meta, shape, image)
            drawn = unpack()
            return _add(_with_target(slot), decode_drawn(kind, meta, drawn, image), meta)

    def add_initial(self, meta: InitialMeta, shape: tuple[int, ...], unpack: Unpack) -> Outcome:
        """An initial mask. The client has already written these values into its buffer."""
        with self._slot() as slot:
            image = _with_image(slot).shape
            if shape != image:
                raise BadPrompt(f"the initial segmentation has shape {shape}, the image {image}")
            voxels = unpack()
            session = _with_target(slot)
            mask = painted(voxels)
            refine = meta.run_prediction
            session.add([InitialMask(mask, refine)], unchecked=meta.override_capability_checks)
            _buffer(session).fresh = False
            if not refine and (mask == voxels).all():
                return _outcome(session, False, NOTHING)
            # Compared with the client's values, not with the previous mask, which its buffer no longer has.
            written = voxels.view(np.uint8 if voxels.dtype == np.bool_ else voxels.dtype)
            return _outcome(session, True, session.cut(Region.around(session.mask != written)))

    def predict(self, full_refine: bool) -> Outcome:
        with self._slot() as slot:
            session = _with_target(slot)
            change = session.predict(full_refine)
            return _outcome(session, change.region is not None, change)

    def undo(self) -> Outcome:
        with self._slot() as slot:
            if slot.empty:
                return Outcome(False, NOTHING, np.dtype(np.uint8))
            change = slot.session.undo()
            return _outcome(slot.session, change is not None, change or NOTHING)

    def reset(self) -> None:
        """Remove all prompts. The client has already cleared its buffer."""
        with self._slot() as slot:
            if not slot.empty:
                slot.session.reset()
                _buffer(slot.session).fresh = False

    def close(self) -> None:
        """Free the memory; the log stays on disk."""
        with self._slot() as slot:
            slot.close()

    def _slot(self) -> AbstractContextManager[Slot]:
        return self._services.prompting.slot(self._owner, "image")  # a lease ends with the server, and so does its slot


def _add(session: Session, prompt: Prompt, said: Prompted) -> Outcome:
    change = session.add([prompt], predict=said.run_prediction, unchecked=said.override_capability_checks)
    return _outcome(session, said.run_prediction, change)


def _outcome(session: Session, ran: bool, change: Change) -> Outcome:
    buffer = _buffer(session)
    if buffer.fresh and ran:
        # For a buffer of zeros, the whole mask is new.
        change = session.cut(Region.around(session.mask))
        buffer.fresh = False
    return Outcome(ran, change, buffer.dtype)


def _with_image(slot: Slot) -> Session:
    if slot.empty:
        raise Conflict("there is no image yet; send it first")
    return slot.session


def _with_target(slot: Slot) -> Session:
    session = _with_image(slot)
    if not _buffer(session).targeted:
        raise Conflict("there is no target buffer yet; set it first")
    return session


def _buffer(session: Session) -> _Buffer:
    return cast(_Buffer, session.note)


def _affine(spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Axis-parallel, from `k, j, i` millimetres; where the image lies isn't said."""
    k, j, i = spacing
    return np.diag([i, j, k, 1.0])
