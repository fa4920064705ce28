"""Rendering a frame: windowed to 8 bits and encoded as JPEG or PNG (PS3.18 8.3.5, PS3.3 C.11)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from app.dicom.parsing import PARSER_ERRORS
from app.errors import BadOption

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
Picture = Literal["image/jpeg", "image/png"]
MAX_SIDE = 4096
"""The longest side of a viewport in pixels."""


@dataclass(frozen=True)
class Window:
    """A window over modality values (PS3.3 C.11.2.1.2)."""

    center: float
    width: float
    function: Function = "LINEAR"

    def apply(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map values to 0..255."""
        if self.function == "SIGMOID":
            return np.asarray(255 / (1 + np.exp(-4 * (values - self.center) / self.width)), np.float32)
        if self.function == "LINEAR":
            low, span = self.center - 0.5 - (self.width - 1) / 2, max(self.width - 1, 1e-6)
        else:
            low, span = self.center - self.width / 2, self.width
        return np.asarray(np.clip((values - low) / span, 0, 1) * 255, np.float32)


@dataclass(frozen=True)
class Viewport:
    """The box that the image is scaled to fit, and the part of the frame that is shown (None: all of it): its corner
    `x, y` and its size in pixels, mirrored where the size is negative."""

    width: int
    height: int
    part: tuple[float, float, float, float] | None = None


def window_of(text: str) -> Window:
    """Parse `center,width,function`. Raises `BadOption`."""
    center, width, function, *rest = (*text.split(","), "LINEAR", "")
    function = function.strip().upper().replace("-", "_") or "LINEAR"
    try:
        window = Window(float(center), float(width), function)  # type: ignore[arg-type] # checked below
    except ValueError:
        raise BadOption(f"{text[:80]!r} is not a window; use center,width,function") from None
    least = 1 if function == "LINEAR" else 0
    usable = np.isfinite([window.center, window.width]).all() and window.width >= least and window.width > 0
    if function not in get_args(Function) or not usable or len(rest) > 2:
        raise BadOption(
            f"{text[:80]!r} is not a window; functions are linear, linear-exact, sigmoid; widths at least 1"
        )
    return window


def viewport_of(text: str) -> Viewport:
    """Parse `width,height` or `width,height,x,y,width,height`. Raises `BadOption`."""
    try:
        numbers = [float(value) if value.strip() else 0.0 for value in text.split(",")]
    except ValueError:
        numbers = []
    if (
        len(numbers) not in (2, 6)
        or not np.isfinite(numbers).all()
        or not all(1 <= side <= MAX_SIDE for side in numbers[:2])
    ):
        raise BadOption(f"{text[:80]!r} is not a viewport; use width,height of at most {MAX_SIDE} pixels each")
    x, y, width, height = numbers[2:] or (0.0, 0.0, 0.0, 0.0)
    part = (x, y, width, height) if len(numbers) == 6 else None
    return Viewport(int(numbers[0]), int(numbers[1]), part)


@dataclass(frozen=True)
class Rendering:
    """Rendering options (PS3.18 8.3.5.1). Without a `window`, that of the image is used, or the range of its values.
    `quality` is that of a JPEG, 1 to 100."""

    kind: Picture = "image/jpeg"
    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = 90


def render(values: NDArray[np.generic], header: Dataset, number: int, how: Rendering) -> bytes:
    """The encoded image of the stored `values` of frame `number` (from 1), `(rows, columns)` or RGB."""
    from PIL import Image

    is_rgb = values.ndim == 3 or _is_palette(header)
    picture = Image.fromarray(_rgb(values, header) if is_rgb else _grey(values, header, number, how.window))
    if how.viewport is not None:
        picture = _fitted(picture, how.viewport, header)
    stream = io.BytesIO()
    if how.kind == "image/png":
        picture.save(stream, "PNG", compress_level=1)
    else:
        picture.save(stream, "JPEG", quality=how.quality)
    return stream.getvalue()


def _grey(values: NDArray[np.generic], header: Dataset, number: int, window: Window | None) -> NDArray[np.uint8]:
    groups = _groups(header, number)
    slope, intercept = (_number(groups, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    modality = values.astype(np.float32) * np.float32(1 if slope is None else slope) + np.float32(intercept or 0)
    window = window or _own_window(groups) or _whole_range(modality)
    grey = np.rint(window.apply(modality)).astype(np.uint8)
    return 255 - grey if header.get("PhotometricInterpretation") == "MONOCHROME1" else grey


def _rgb(values: NDArray[np.generic], header: Dataset) -> NDArray[np.uint8]:
    if _is_palette(header):
        from pydicom.pixels.processing import apply_color_lut

        values = apply_color_lut(values, header)
    if values.dtype == np.uint8:
        return np.asarray(values[..., :3])
    bits = 16 if _is_palette(header) else int(header.get("BitsStored", 8))
    return (values[..., :3].astype(np.uint32) >> max(bits - 8, 0)).astype(np.uint8)


def _is_palette(header: Dataset) -> bool:
    return bool(header.get("PhotometricInterpretation") == "PALETTE COLOR")


def _groups(header: Dataset, number: int) -> list[Dataset]:
    """Where the attributes of a frame may be: its functional groups, the shared ones, the header itself."""
    found = []
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    for group in (*per_frame[number - 1 : number], *shared[:1]):
        for keyword in ("FrameVOILUTSequence", "PixelValueTransformationSequence"):
            found += list(group.get(keyword) or ())[:1]
    return [*found, header]


def _number(groups: Sequence[Dataset], keyword: str) -> float | None:
    """The first value as a number; None if it is missing or not a number."""
    for group in groups:
        value = group.get(keyword)
        try:
            if value not in (None, ""):
                return float(value[0] if isinstance(value, Sequence) and not isinstance(value, str) else value)
        except PARSER_ERRORS:
            return None
    return None


def _own_window(groups: Sequence[Dataset]) -> Window | None:
    center, width = _number(groups, "WindowCenter"), _number(groups, "WindowWidth")
    if center is None or width is None or width <= 0:
        return None
    function = next((str(group.VOILUTFunction) for group in groups if group.get("VOILUTFunction")), "LINEAR")
    return Window(center, width, function if function in get_args(Function) else "LINEAR")  # type: ignore[arg-type]


def _whole_range(values: NDArray[np.float32]) -> Window:
    low, high = float(values.min()), float(values.max())
    return Window((low + high) / 2, max(high - low, 1.0), "LINEAR_EXACT")


def _fitted(picture, viewport: Viewport, header: Dataset):  # type: ignore[no-untyped-def] # Pillow's own types
    """The requested part of an image, scaled to fit the viewport; pixels may be non-square."""
    from PIL import Image, ImageOps

    if viewport.part is not None:
        x, y, width, height = viewport.part
        width, height = width or picture.width - x, height or picture.height - y
        box = (int(x), int(y), int(x + abs(width)), int(y + abs(height)))
        if not (0 <= box[0] < box[2] <= picture.width and 0 <= box[1] < box[3] <= picture.height):
            raise BadOption("the viewport shows a part that isn't in the image")
        picture = picture.crop(box)
        picture = ImageOps.mirror(picture) if width < 0 else picture
        picture = ImageOps.flip(picture) if height < 0 else picture
    spacing = header.get("PixelSpacing") or (1, 1)
    down, right = (float(spacing[0]), float(spacing[1])) if len(spacing) == 2 else (1.0, 1.0)
    width, height = picture.width * right, picture.height * down
    factor = min(viewport.width / width, viewport.height / height)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return picture.resize(size, Image.Resampling.BILINEAR)
