"""nnInteractive (Isensee et al., arXiv 2503.08373) as an interactive model: promptable segmentation of anything in 3D.

The library's session does the work; this adapter gives every session the same network, refuses what the library would
choke on before it gets there, and says which voxels changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.core.model import InteractiveSession, ModelCard, Option, SessionState
from app.core.patches import EveryPatch, Patches
from app.core.prompt import Box, InitialMask, Lasso, Point, Prompt, Region, Scribble
from app.core.volume import Index, Volume
from app.errors import BadFile, BadOption, BadPrompt, SegloopError
from app.models.checks import check_prompt, check_volume
from app.models.device import Device
from app.models.nninteractive.folder import ModelFolder, find_folder
from app.models.nninteractive.guard import Click, apply_guard, guarded_box
from app.models.nninteractive.library import (
    Capabilities,
    LoadedModel,
    Storage,
    load_model,
    open_session,
    read_capabilities,
    repeatable,
)
from app.models.nninteractive.patches import ask_between
from app.models.nninteractive.state import forget_prompts, form_of, put_back, take
from app.models.nninteractive.versions import ModelFolderBase, read_model
from app.models.options import chosen
from app.models.registry import ModelOptions, ModelType

_EVERY: frozenset[type[Prompt]] = frozenset({Point, Box, Scribble, Lasso, InitialMask})
_ZOOM = 4  # the library zooms out at most this far, and keeps a buffer for a patch of that size


class NnInteractive:
    """One nnInteractive model folder, loaded when the first session opens. Thread-safe.

    `storage`: `blosc2` for servers with several sessions, `tensor` for one. `autozoom` is the default of the option of
    the same name: follow a structure beyond the patch around the click (more forwards per click). `patches` limits
    those; None leaves it to the folder, and if that says nothing, to the library. `store` is where the version `folder`
    has its base; by default beside it.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        device: Device,
        *,
        storage: Storage = "blosc2",
        autozoom: bool = True,
        patches: int | None = None,
        store: Path | None = None,
    ) -> None:
        self._name = name
        self._patches = patches
        self._folder = read_model(folder, store or folder.parent, patches)
        self._device = device
        self._storage: Storage = storage
        self._autozoom = autozoom
        self._loading = threading.Lock()
        self._loaded: LoadedModel | None = None

    @property
    def card(self) -> ModelCard:
        return ModelCard(
            name=self._name,
            kind="interactive",
            description=self._folder.description,
            version=self._folder.version,
            licence=self._folder.licence,
            options={"autozoom": self._autozoom},
        )

    @property
    def accepts(self) -> frozenset[type[Prompt]]:
        return self._folder.accepts

    def capabilities(self) -> Capabilities:
        """What the network's folder says it takes, as clients of nnInteractive's own server ask for it. Loads the
        model."""
        return read_capabilities(self._load().artifacts)

    def open(self, volume: Volume, options: Mapping[str, Option]) -> InteractiveSession:
        """See `InteractiveModel.open`. Preprocesses in the caller's thread; raises `BadInput` or `BadFile`."""
        check_volume(volume)
        autozoom = bool(chosen(self.card, options)["autozoom"])
        loaded = self._load()
        library = open_session(loaded, volume, self._device, self._storage, autozoom=autozoom)
        return NnInteractiveSession(library, loaded.folder, volume.geometry.shape)

    def session_bytes(self, volume: Volume) -> int:
        """Per voxel: 4 for the normalised image, 2 for the masks, and the prompts: 14 dense, or about 1 compressed and
        a buffer for the largest patch (measured: 18.5 and 5.3 in all, without our own mask)."""
        voxels = volume.geometry.voxel_count
        if self._storage == "tensor" or (self._storage == "auto" and voxels <= 2**27):
            return 20 * voxels
        shape = volume.geometry.shape
        buffer = int(np.prod([min(n, _ZOOM * p) for n, p in zip(shape, self._folder.patch, strict=True)]))
        return 7 * voxels + 2 * buffer

    def use(self, folder: Path) -> None:
        """Serve the weights of another model folder or version from now on; open sessions keep theirs. Raises
        `BadFile` or `IntegrityError`, and then nothing has changed."""
        new = read_model(folder, folder.parent, self._patches)
        if new.version == self._folder.version:
            return  # the base of a first training is a copy of what is served
        loaded = load_model(new, self._device)
        with self._loading:
            self._folder = loaded.folder
            self._loaded = loaded

    def _load(self) -> LoadedModel:
        with self._loading:
            if self._loaded is None:
                self._loaded = load_model(self._folder, self._device)
            return self._loaded


@dataclass(frozen=True)
class _Clicks:
    """What the guard knows: all clicks, and how many of them, the last ones, no prediction has seen yet."""

    all: tuple[Click, ...] = ()
    fresh: int = 0

    def noted(self, click: Click) -> _Clicks:
        return _Clicks((*self.all, click), self.fresh + 1)

    def predicted(self) -> _Clicks:
        return _Clicks(self.all)

    def listed(self) -> dict[str, Any]:
        """For JSON."""
        return {"all": [[*click.index, int(click.positive)] for click in self.all], "fresh": self.fresh}

    @classmethod
    def unlisted(cls, values: Mapping[str, Any]) -> _Clicks:
        return cls(tuple(Click((k, j, i), bool(p)) for k, j, i, p in values["all"]), int(values["fresh"]))


class NnInteractiveSession:
    """A library session and the mask people see. Keeps `app.core.model.InteractiveSession` and `PatchedSession`.

    The library writes into a buffer of its own; what changed there is copied into `mask`, so that a prompt that fails
    half-way never shows, and so that the changed region is exact. If the folder asks for the guard, a click or stroke
    that runs away is taken back before it is copied; nothing else about a guarded session differs.
    """

    def __init__(self, library: Any, folder: ModelFolder, shape: Index) -> None:
        self._library: Any = library
        self._folder = folder
        self._target = np.zeros(shape, np.uint8)
        self._mask = np.zeros(shape, np.uint8)
        self._undoable = False
        self._clicks = _Clicks()
        self._clicks_before = _Clicks()
        self._patches: Patches = EveryPatch()
        library.set_target_buffer(self._target)

    @property
    def mask(self) -> NDArray[np.uint8]:
        return self._mask

    @property
    def version(self) -> str:
        return self._folder.version

    @property
    def undoable(self) -> bool:
        return self._undoable

    def add(self, prompt: Prompt, *, predict: bool = True, unchecked: bool = False) -> Region | None:
        """See `InteractiveSession.add`. An `InitialMask` becomes the mask as it is unless it is to be refined. A box
        that is thicker than a slice, given to a model that knows only flat ones, stands for its middle slice, unless it
        is given `unchecked`: then the library says what it thinks of it."""
        library = self._open_library()
        check_prompt(prompt, self._shape, _EVERY if unchecked else self._folder.accepts)
        flatten = not (self._folder.boxes_3d or unchecked)
        try:
            with self._predicting():
                box = _send(library, prompt, predict=predict, flatten=flatten, unchecked=unchecked)
        except ValueError as error:  # the library's word for a prompt it can't take; it has rolled back
            raise BadPrompt(str(error)) from error
        self._undoable = True
        self._clicks_before = self._clicks
        if isinstance(prompt, InitialMask):
            self._clicks = _Clicks()
            return self._copy(Region.whole(self._shape))
        click = _click(prompt)
        if click is not None:
            self._clicks = self._clicks.noted(click)
        return self._copy(self._guarded(box, judge=click is not None) if predict else None)

    def predict(self, *, full_refine: bool = False) -> Region | None:
        """See `InteractiveSession.predict`. To the library it is part of the last prompt: undo takes back both."""
        library = self._open_library()
        with self._predicting():
            box = library._predict(force_full_refine=full_refine)
        return self._copy(self._guarded(box, judge=False))

    def predict_with(self, patches: Patches) -> None:
        """See `PatchedSession.predict_with`. Predictions within a limit of patches can end early."""
        self._patches = patches

    def set_options(self, options: Mapping[str, Option]) -> None:
        """See `InteractiveSession.set_options`."""
        if unknown := set(options) - {"autozoom"}:
            raise BadOption(f"no option {min(unknown)!r}; there is: autozoom")
        if "autozoom" in options:
            self._open_library().set_do_autozoom(bool(options["autozoom"]))

    def undo(self) -> Region | None:
        """See `InteractiveSession.undo`: one level, as in the library; a second call in a row answers None."""
        library = self._open_library()
        if not self._undoable:
            return None
        self._undoable = False
        self._clicks = self._clicks_before
        library.undo()
        return self._copy(_region(library._last_paste_bbox))

    def reset(self) -> Region | None:
        """See `InteractiveSession.reset`. Can't be undone."""
        library = self._open_library()
        library.reset_interactions()
        self._undoable = False
        self._clicks = _Clicks()
        return self._copy(Region.whole(self._shape))

    def capture(self) -> SessionState | None:
        """See `InteractiveSession.capture`. The library's buffer isn't in it: it equals the mask between two calls."""
        library = self._open_library()
        form = form_of(library)
        if form is None:
            return None
        values, parts = take(library)
        ours = {
            "undoable": self._undoable,
            "clicks": self._clicks.listed(),
            "clicks_before": self._clicks_before.listed(),
        }
        return SessionState(form, {"library": values, **ours}, parts)

    def restore(self, state: SessionState, mask: NDArray[np.uint8]) -> None:
        """See `InteractiveSession.restore`."""
        self._put_back(state, mask)
        self._mask[...] = mask

    def move_to(self, state: SessionState, mask: NDArray[np.uint8], changed: Region | None) -> None:
        """See `InteractiveSession.move_to`. The library's buffer may differ from the mask elsewhere, too: while it was
        changed by hand, and where a prompt was taken back."""
        forget_prompts(self._open_library())
        self._put_back(state, mask)
        if changed is not None:
            self._mask[changed.slices] = mask[changed.slices]

    def _put_back(self, state: SessionState, mask: NDArray[np.uint8]) -> None:
        library = self._open_library()
        if state.form != form_of(library) or mask.shape != self._mask.shape:
            raise BadFile(f"a session's state of the form {state.form!r} and {mask.shape} voxels doesn't fit here")
        try:
            put_back(library, state.values["library"], state.parts)
            self._undoable = bool(state.values["undoable"])
            self._clicks = _Clicks.unlisted(state.values["clicks"])
            self._clicks_before = _Clicks.unlisted(state.values["clicks_before"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadFile(f"a session's state can't be read: {error!r}") from error
        self._target[...] = mask

    def adopt(self, mask: NDArray[np.uint8]) -> None:
        """See `InteractiveSession.adopt`."""
        self.add(InitialMask(mask != 0), unchecked=True)
        self._open_library()._undo_log = None
        self._undoable = False
        self._clicks_before = _Clicks()

    def close(self) -> None:
        if self._library is not None:
            self._library.executor.shutdown(wait=False)
        self._library = None
        self._target = self._mask = np.zeros((0, 0, 0), np.uint8)

    @property
    def _shape(self) -> Index:
        k, j, i = self._mask.shape
        return k, j, i

    @contextmanager
    def _predicting(self) -> Iterator[None]:
        with repeatable(), ask_between(self._open_library(), self._folder.patches, self._patches):
            yield

    def _open_library(self) -> Any:
        if self._library is None:
            raise SegloopError("the session is closed")
        return self._library

    def _guarded(self, box: Any, *, judge: bool) -> Region | None:
        """Let the guard, where the folder asks for it, see what a prediction wrote into `box`; returns what may have
        changed."""
        clicks, self._clicks = self._clicks, self._clicks.predicted()
        if not self._folder.guard or not clicks.fresh:
            return _region(box)
        apply_guard(self._open_library(), self._mask, box, clicks.all, clicks.fresh, judge=judge)
        return _region(guarded_box(box, clicks.all[-clicks.fresh :], self._shape))

    def _copy(self, written: Region | None) -> Region | None:
        """Copy what the library wrote inside `written` into the mask; returns the box of voxels that changed."""
        if written is None:
            return None
        new, old = self._target[written.slices], self._mask[written.slices]
        changed = Region.around(new != old)
        if changed is None:
            return None
        old[changed.slices] = new[changed.slices]
        low = tuple(a + b for a, b in zip(written.low, changed.low, strict=True))
        high = tuple(a + b for a, b in zip(written.low, changed.high, strict=True))
        return Region(_index(low), _index(high))


def _send(library: Any, prompt: Prompt, *, predict: bool, flatten: bool, unchecked: bool) -> Any:
    """Give a prompt to the library; returns the box that it wrote to, `[[low, high], ...]`, or None."""
    how: dict[str, Any] = {"run_prediction": predict, "override_capability_checks": unchecked}
    if isinstance(prompt, Point):
        return library.add_point_interaction(prompt.at, prompt.include, **how)
    if isinstance(prompt, Box):
        region = _flat(prompt.region) if flatten else prompt.region
        return library.add_bbox_interaction(_bounds(region), prompt.include, **how)
    if isinstance(prompt, InitialMask):
        how["run_prediction"] = prompt.refine
        return library.add_initial_seg_interaction(np.ascontiguousarray(prompt.voxels, np.uint8), **how)
    voxels = np.ascontiguousarray(
        prompt.voxels, np.uint8
    )  # as blosc2 and torch want them; a file may have another order
    draw = library.add_scribble_interaction if isinstance(prompt, Scribble) else library.add_lasso_interaction
    return draw(voxels, prompt.include, interaction_bbox=_bounds(prompt.region), **how)


def _click(prompt: Prompt) -> Click | None:
    """The voxel the guard should look at: the point, or the middle of a stroke, which is the same in every plane."""
    if isinstance(prompt, Point):
        return Click(prompt.at, prompt.include)
    if isinstance(prompt, Scribble):
        painted = np.argwhere(prompt.voxels)
        # The one nearest to the centre: the middle one in the order of the array would depend on the plane.
        offsets = len(painted) * painted - painted.sum(axis=0)
        middle = painted[np.argmin((offsets**2).sum(axis=1))]
        return Click(_index(middle + np.array(prompt.region.low)), prompt.include)
    return None


def _flat(region: Region) -> Region:
    """A box as it is if it is one voxel thick somewhere, else its middle slice along k, where people draw boxes."""
    if 1 in region.shape:
        return region
    middle = (region.low[0] + region.high[0]) // 2
    return Region((middle, *region.low[1:]), (middle + 1, *region.high[1:]))


def _bounds(region: Region) -> list[list[int]]:
    return [[low, high] for low, high in zip(region.low, region.high, strict=True)]


def _region(box: Any) -> Region | None:
    """The library's box, which is empty where a patch lies wholly outside the volume."""
    if box is None or any(high <= low for low, high in box):
        return None
    return Region(_index([low for low, _ in box]), _index([high for _, high in box]))


def _index(values: Any) -> Index:
    k, j, i = (int(value) for value in values)
    return k, j, i


def _build(name: str, options: ModelOptions, device: Device) -> NnInteractive:
    folder = options.version or find_folder(options.source or "starter")
    return NnInteractive(name, folder, device, patches=options.patches, store=options.store)


NNINTERACTIVE = ModelType("nninteractive", "interactive", build=_build, trained=True, base=ModelFolderBase())
