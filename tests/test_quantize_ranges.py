"""The ranges of activations: of all values that calibrate, or of most of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from float_nets import onnx_net, samples, save, tflite_net

from tinygen.errors import ModelError, ToolFailed, UsageError
from tinygen.quantize import Choices, Quantised, Wish, quantise

BOARD = "qemu-mps2-an386"


def quantised(folder: Path, percentile: float | None) -> Quantised:
    """Of a hundred samples that calibrate, two are sixty times as large as the others, and as those compared."""
    inputs = samples(100)
    inputs[::50] *= 60
    np.save(folder / "data.npy", inputs)
    np.save(folder / "test.npy", samples(40))
    source, test = save(onnx_net(), folder / "net.onnx"), Wish(folder / "test.npy")
    wish, choices = Wish(folder / "data.npy"), Choices(percentile=percentile)
    return quantise(source, wish, folder / "int8.onnx", BOARD, test=test, choices=choices)


def test_ranges_can_leave_out_outliers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    everything, most = quantised(tmp_path, None), quantised(tmp_path, 97.0)
    coarse, fine = (each.figures.sqnr_db["scores"] for each in (everything, most))
    assert coarse is not None
    assert fine is not None
    assert fine > coarse + 2
    assert "--percentile 99.9" in "\n".join(everything.advice)
    assert "--percentile" not in "\n".join(most.advice)
    assert capfd.readouterr().out == ""


def test_tflite_files_have_ranges_of_all_values(tmp_path: Path) -> None:
    source = tmp_path / "net.tflite"
    source.write_bytes(tflite_net())
    np.save(tmp_path / "data.npy", samples(40, (6,)))
    with pytest.raises(UsageError, match="whose ranges hold all values"):
        quantise(source, Wish(tmp_path / "data.npy"), tmp_path / "a.tflite", BOARD, choices=Choices(percentile=99.0))


def test_histograms_of_too_many_values_are_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygen.quantize.onnx_job._MOST_BYTES", 100_000)
    with pytest.raises(UsageError, match=r"values of all layers at once: [\d,]+ bytes for 100 samples") as caught:
        quantised(tmp_path, 99.0)
    assert "--samples" in caught.value.remedy


def test_what_onnx_runtime_cannot_run_is_one_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its tools log a traceback of it, and go on."""
    model = onnx_net()
    model.graph.node[2].domain = "org.example"
    model.opset_import.add(domain="org.example", version=1)
    np.save(tmp_path / "data.npy", samples(20))
    with pytest.raises((ModelError, ToolFailed), match=r"org\.example"):
        quantise(save(model, tmp_path / "net.onnx"), Wish(tmp_path / "data.npy"), tmp_path / "int8.onnx", BOARD)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
