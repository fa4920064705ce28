"""Pictures: the window as the standard has it, and what is asked for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_windowing

from app.dicom.rendering import Rendering, Viewport, Window, render, viewport_of, window_of
from app.errors import BadOption
from tests.dicom.synthetic import ct_series, enhanced_series

PNG = Rendering("image/png")


def seen(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)))


def slice_of() -> Dataset:
    return ct_series((1, 30, 40))[0][0]


def windowed(dataset: Dataset) -> NDArray[np.float64]:
    """pydicom's, on 0..255."""
    shown = Dataset()
    for keyword in ("WindowCenter", "WindowWidth", "BitsStored", "PixelRepresentation", "PhotometricInterpretation"):
        setattr(shown, keyword, dataset.get(keyword))
    values = apply_windowing(apply_modality_lut(dataset.pixel_array, dataset), shown)
    return np.asarray(values / 4095 * 255)


def test_the_image_s_own_window() -> None:
    dataset = slice_of()
    found = seen(render(dataset.pixel_array, dataset, 1, PNG))
    assert (found.dtype, found.shape) == (np.uint8, (30, 40))
    assert np.abs(found - windowed(dataset)).max() <= 1


def test_a_window_that_is_asked_for() -> None:
    dataset = slice_of()
    found = seen(render(dataset.pixel_array, dataset, 1, Rendering("image/png", window_of("100,800"))))
    dataset.WindowCenter, dataset.WindowWidth = "100", "800"
    assert np.abs(found - windowed(dataset)).max() <= 1


def test_windows_at_their_ends() -> None:
    values = np.array([[-1, 0, 5, 9, 10, 100]], np.float32)
    assert Window(5, 10, "LINEAR_EXACT").apply(values).round().tolist() == [[0, 0, 128, 230, 255, 255]]
    # PS3.3 C.11.2.1.2.1: center 5, width 10 goes from 0 to 9.
    assert Window(5, 10).apply(values).round().tolist() == [[0, 0, 142, 255, 255, 255]]
    assert Window(5, 10, "SIGMOID").apply(np.array([[5]], np.float32)).round().tolist() == [[128]]


def test_an_image_without_a_window_is_seen_whole() -> None:
    dataset = slice_of()
    del dataset.WindowCenter, dataset.WindowWidth
    found = seen(render(dataset.pixel_array, dataset, 1, PNG))
    assert (found.min(), found.max()) == (0, 255)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    inverse = seen(render(dataset.pixel_array, dataset, 1, PNG))
    np.testing.assert_array_equal(inverse, 255 - found)


def test_each_frame_has_its_own_rescale_and_window() -> None:
    dataset, _ = enhanced_series((3, 10, 12))
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence, start=1):
        window = Dataset()
        window.WindowCenter, window.WindowWidth = str(-1500 if number == 2 else 9000), "10"
        frame.FrameVOILUTSequence = [window]
    plane = dataset.pixel_array[0]
    assert seen(render(plane, dataset, 2, PNG)).min() == 255
    assert seen(render(plane, dataset, 3, PNG)).max() == 0


def test_colour() -> None:
    header = Dataset()
    header.PhotometricInterpretation = "RGB"
    values = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    np.testing.assert_array_equal(seen(render(values, header, 1, PNG)), values)


def test_jpeg_is_close() -> None:
    dataset = slice_of()
    picture = Image.open(io.BytesIO(render(dataset.pixel_array, dataset, 1, Rendering(quality=100))))
    assert (picture.format, picture.size) == ("JPEG", (40, 30))
    assert np.abs(np.asarray(picture, np.int16) - windowed(dataset)).mean() < 3


def test_viewports_keep_the_proportions_in_millimetres() -> None:
    dataset = slice_of()  # 40 x 0.7 mm by 30 x 0.8 mm
    assert seen(render(dataset.pixel_array, dataset, 1, Rendering("image/png", viewport=Viewport(280, 500)))).shape == (
        240,
        280,
    )
    dataset.PixelSpacing = [1, 1]
    part = seen(
        render(dataset.pixel_array, dataset, 1, Rendering("image/png", viewport=viewport_of("10,10,5,6,10,10")))
    )
    whole = seen(render(dataset.pixel_array, dataset, 1, PNG))
    np.testing.assert_array_equal(part, whole[6:16, 5:15])
    mirrored = seen(
        render(dataset.pixel_array, dataset, 1, Rendering("image/png", viewport=viewport_of("10,10,5,6,-10,10")))
    )
    np.testing.assert_array_equal(mirrored, part[:, ::-1])
    with pytest.raises(BadOption):
        render(dataset.pixel_array, dataset, 1, Rendering(viewport=viewport_of("10,10,35,6,10,10")))


@pytest.mark.parametrize(
    "text", ["", "1", "1,0", "1,-5", "nan,5", "1,2,cubic", "1,2,linear,4", "a,b", "1,0.5", "1,inf"]
)
def test_windows_that_are_none(text: str) -> None:
    with pytest.raises(BadOption):
        window_of(text)


@pytest.mark.parametrize("text", ["", "1", "0,5", "-1,5", "5,99999", "1,2,3", "a,b", "nan,1", "1,1,nan,0,1,1"])
def test_viewports_that_are_none(text: str) -> None:
    dataset = slice_of()
    with pytest.raises(BadOption):
        render(dataset.pixel_array, dataset, 1, Rendering(viewport=viewport_of(text)))
