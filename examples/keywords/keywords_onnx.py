"""The network as int8 ONNX, for ONNX Runtime: from the trained float network, whatever the .tflite is made of."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from network import with_ends

try:
    import onnx
    import onnxruntime
except ImportError as error:
    raise SystemExit(f"Training needs ONNX Runtime ({error}): pip install 'tinygen[train]'") from error
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from onnx_export import IMAGE, to_onnx

from tinygen import quantize

Windows = npt.NDArray[np.int8]


def images(windows: Windows, scale: float) -> npt.NDArray[np.float32]:
    """(windows, frames, channels) as (windows, channels, frames, 1): what the features stand for."""
    reals = (windows.astype(np.float32) + 128) * np.float32(scale)
    return np.ascontiguousarray(reals.transpose(0, 2, 1)[..., np.newaxis])


def quantise(model: Any, windows: Windows, scale: float) -> bytes:
    """A model whose weights are int8 and whose activations uint8; its input and output are float32.

    `windows` (count, frames, channels) show what to expect.
    """
    with TemporaryDirectory() as folder:
        source, data, out = (Path(folder) / name for name in ("float.onnx", "windows.npz", "keywords.onnx"))
        onnx.save(to_onnx(model, "keywords"), source)
        np.savez(data, **{IMAGE: images(with_ends(windows), scale)})
        made = quantize.quantise(source, quantize.Wish(data), out, "qemu-mps2-an386", samples=len(windows) + 1)
    return made.data


def accuracy(data: bytes, windows: Windows, labels: npt.NDArray[np.uint8], scale: float) -> float:
    """Share of windows that ONNX Runtime hears right."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    scores = [session.run(None, {IMAGE: image[np.newaxis]})[0][0] for image in images(windows, scale)]
    return float(np.mean(np.argmax(scores, axis=1) == labels))
