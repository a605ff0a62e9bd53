"""Samples from images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinygen.errors import InputError, ToolMissing
from tinygen.ir import Array
from tinygen.quantize.data import FloatPort

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def samples(path: Path, port: FloatPort, pixels: tuple[float, float]) -> Array:
    """The one sample of an image file, float32 (1, *shape).

    An input of one channel takes grey values, one of three red, green and blue; channels come last or, as in ONNX,
    first. `pixels` are what the values 0 and 255 become. The image has the input's size: whether to stretch or to
    crop is for those who trained the model to say. Raises InputError, ToolMissing.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ToolMissing(
            f"reading {path} needs the Python package pillow", "Install it: pip install 'tinygen[images]'"
        ) from None
    height, width, channels, first = _layout(path, port)
    try:
        with Image.open(path) as image:
            size = image.size
            values = np.asarray(image.convert("L" if channels == 1 else "RGB"), np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the image {path}: {error}", "Remove it, or convert it to PNG.") from None
    if size != (width, height):
        raise InputError(
            f"{path} is {size[0]} pixels wide and {size[1]} high, the input {port.name!r} takes {width} x {height}",
            "Bring all images to that size first, as for training.",
        )
    values = values.reshape(height, width, channels) * np.float32((pixels[1] - pixels[0]) / 255) + np.float32(pixels[0])
    return (np.moveaxis(values, -1, 0) if first else values).reshape(1, *port.shape)


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
