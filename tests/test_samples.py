"""Inputs from files and generators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinygen.errors import InputError
from tinygen.manifest import Port
from tinygen.samples import from_file, generated, read_labels

INT8 = Port("image", "m_input", "static", "int8", (1, 4, 3, 2), None, 0.5, -3, 24)
FLOAT = Port("real", "m_input", "static", "float32", (1, 5), None, None, None, 20)


def test_generated_samples_are_the_extremes_then_random_and_depend_on_the_seed_alone() -> None:
    samples = generated([INT8, FLOAT], 8, 3)
    again = generated([INT8, FLOAT], 8, 3)
    other = generated([INT8, FLOAT], 8, 4)
    assert np.all(samples[0].arrays[0] == -128)
    assert np.all(samples[1].arrays[0] == 127)
    for sample, same, different in zip(samples, again, other, strict=True):
        for array, port in zip(sample.arrays, (INT8, FLOAT), strict=True):
            assert array.shape == port.shape
            assert array.dtype == port.dtype
        assert sample.bytes == same.bytes
        assert sample.name.startswith("all") or sample.bytes != different.bytes
    spread = np.concatenate([s.arrays[0].reshape(-1) for s in generated([INT8], 40, 0)])
    assert len(np.unique(spread)) > 200


@pytest.mark.parametrize("shape", [(1, 4, 3, 2), (7, 4, 3, 2), (7, 1, 4, 3, 2), (4, 3, 2), (24,), (7, 24)])
def test_reads_one_sample_or_many_of_any_matching_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    np.save(tmp_path / "x.npy", array)
    samples = from_file(tmp_path / "x.npy", [INT8])
    assert b"".join(sample.bytes[0] for sample in samples) == array.tobytes()
    assert all(sample.arrays[0].shape == INT8.shape for sample in samples)


def test_reads_arrays_by_the_inputs_names(tmp_path: Path) -> None:
    image, real = np.ones((2, 4, 3, 2), np.int8), np.zeros((2, 5), np.float32)
    np.savez(tmp_path / "x.npz", real=real, image=image, labels=np.array([3, 1]))
    samples = from_file(tmp_path / "x.npz", [INT8, FLOAT])
    assert [s.bytes for s in samples] == [[image[i].tobytes(), real[i].tobytes()] for i in range(2)]
    labels = read_labels(tmp_path / "x.npz", 2)
    assert labels is not None
    assert labels.tolist() == [3, 1]
    assert read_labels(tmp_path / "x.npz", 3) is None
    np.savez(tmp_path / "y.npz", photo=image, labels=np.array([3, 1]))  # of an only input, under any name
    assert [s.bytes for s in from_file(tmp_path / "y.npz", [INT8])] == [[each.tobytes()] for each in image]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((1, 4, 3, 2), np.float32), r"takes int8, the array is float32[\s\S]*/ 0\.5\) \+ -3"),
        (np.zeros((1, 4, 3, 2), np.uint8), "takes int8, the array is uint8"),
        (np.zeros((1, 4, 3, 3), np.int8), r"takes \[1, 4, 3, 2\], the array is \[1, 4, 3, 3\]"),
        (np.zeros((), np.int8), r"the array is \[\]"),
        (np.zeros((0, 4, 3, 2), np.int8), r"the array is \[0, 4, 3, 2\]"),
    ],
)
def test_refuses_other_arrays_in_words(tmp_path: Path, array: np.ndarray, expected: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=expected):
        from_file(tmp_path / "x.npy", [INT8])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", b"not numpy at all", b"\x93NUMPY\x01\x00\xff\xff"])
def test_refuses_files_that_are_no_arrays(tmp_path: Path, content: bytes) -> None:
    for suffix in (".npy", ".npz"):
        (tmp_path / f"x{suffix}").write_bytes(content)
        with pytest.raises(InputError, match="cannot read"):
            from_file(tmp_path / f"x{suffix}", [INT8])


def test_refuses_missing_names_and_uneven_counts(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", image=np.ones((2, 4, 3, 2), np.int8))
    with pytest.raises(InputError, match="no array for the input 'real'"):
        from_file(tmp_path / "x.npz", [INT8, FLOAT])
    np.savez(tmp_path / "y.npz", image=np.ones((2, 4, 3, 2), np.int8), real=np.ones((3, 5), np.float32))
    with pytest.raises(InputError, match="different numbers"):
        from_file(tmp_path / "y.npz", [INT8, FLOAT])
    with pytest.raises(InputError, match="no file"):
        from_file(tmp_path / "z.npz", [INT8])
    np.save(tmp_path / "o.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match="cannot read"):
        from_file(tmp_path / "o.npy", [INT8])
