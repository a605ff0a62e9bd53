"""Samples from images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygen.errors import InputError, ToolMissing
from tinygen.ir import Array
from tinygen.quantize.data import FloatPort

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


STRETCH, CROP = "stretch", "crop"


@dataclass(frozen=True)
class Pictures:
    """What is made of images, as it was for training: real = (low + (high - low) * pixel / 255 - mean) / std."""

    pixels: tuple[float, float] = (0.0, 1.0)
    """Low and high: what the pixel values 0 and 255 become, before `mean` and `std`."""
    mean: tuple[float, ...] = (0.0,)
    """One for all channels, or one for each."""
    std: tuple[float, ...] = (1.0,)
    """The same, greater than zero."""
    resize: str | None = None
    """Of images that have not the input's size: STRETCH both sides to it, or scale them until the input is covered,
    and CROP the middle; None: they are refused."""


def samples(path: Path, port: FloatPort, pictures: Pictures) -> Array:
    """The one sample of an image file, float32 (1, *shape).

    An input of one channel takes grey values, one of three red, green and blue; channels come last or, as in ONNX,
    first. Raises InputError, ToolMissing.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ToolMissing(
            f"reading {path} needs the Python package pillow", "Install it: pip install 'tinygen[images]'"
        ) from None
    height, width, channels, first = _layout(path, port)
    _expect_one_for_each(pictures, channels, port)
    try:
        with Image.open(path) as image:
            size = image.size
            fitted = _fitted(image.convert("L" if channels == 1 else "RGB"), (width, height), pictures.resize)
            pixels: Array = np.asarray(fitted, np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the image {path}: {error}", "Remove it, or convert it to PNG.") from None
    if fitted.size != (width, height):
        raise InputError(
            f"{path} is {size[0]} pixels wide and {size[1]} high, the input {port.name!r} takes {width} x {height}",
            f"Say what was done for training: --resize {CROP} cuts off what does not fit, --resize {STRETCH} distorts.",
        )
    low, high = pictures.pixels
    scaled = pixels.reshape(height, width, channels) * np.float32((high - low) / 255) + np.float32(low)
    values = (scaled - np.asarray(pictures.mean, np.float32)) / np.asarray(pictures.std, np.float32)
    return (np.moveaxis(values, -1, 0) if first else values).reshape(1, *port.shape)


def _fitted(image: Any, size: tuple[int, int], resize: str | None) -> Any:
    """The image in a size (width, height), bilinear over all pixels that one is made of; or as it is."""
    from PIL import Image, ImageOps

    if resize is None or image.size == size:
        return image
    if resize == STRETCH:
        return image.resize(size, Image.Resampling.BILINEAR)
    return ImageOps.fit(image, size, Image.Resampling.BILINEAR)


def _expect_one_for_each(pictures: Pictures, channels: int, port: FloatPort) -> None:
    for option, values in (("--mean", pictures.mean), ("--std", pictures.std)):
        if len(values) not in (1, channels):
            raise InputError(
                f"{option} has {len(values)} numbers, the input {port.name!r} has {channels} "
                f"channel{'s' if channels > 1 else ''}",
                "Give one number for all channels, or one for each.",
            )


def _layout(path: Path, port: FloatPort) -> tuple[int, int, int, bool]:
    """Height, width, channels of an input, and whether channels come first."""
    inner = port.shape[1:] if port.shape[:1] == (1,) else port.shape
    if len(inner) == 2:
        return *inner, 1, False
    if len(inner) == 3 and inner[2] in (1, 3):
        return *inner, False
    if len(inner) == 3 and inner[0] in (1, 3):
        return inner[1], inner[2], inner[0], True
    raise InputError(
        f"{path} is an image, and the input {port.name!r} takes {list(port.shape)}, which is none of 1 or 3 channels",
        "Give an .npz file with the arrays that the model takes.",
    )
