"""Samples from arrays, images and recordings, and their labels: the numbers that a model is to get."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinygen import audio
from tinygen.cli.options import expect_images
from tinygen.errors import InputError, UsageError
from tinygen.ir import Array
from tinygen.quantize import Wish
from tinygen.quantize.data import FloatPort
from tinygen.quantize.images import Pictures
from tinygen.quantize.reading import read

SCORES = [FloatPort("scores", (1, 3))]


def write_images(folder: Path, count: int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> list[Array]:
    """Random pictures in folders a, b and c, in turn; their pixels, in the order of the files' paths."""
    pixels = {}
    for index in range(count):
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        content = np.random.default_rng(index).integers(0, 256, shape, np.uint8)
        path = folder / "abc"[index % 3] / f"{index:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(content).save(path)
        pixels[path] = content
    return [pixels[path] for path in sorted(pixels)]


@pytest.mark.parametrize(
    ("shape", "mode", "first"),
    [((1, 4, 6, 3), "RGB", False), ((1, 3, 4, 6), "RGB", True), ((1, 4, 6, 1), "L", False), ((1, 1, 4, 6), "L", True)],
)
def test_images_become_what_the_model_takes(shape: tuple[int, ...], mode: str, first: bool, tmp_path: Path) -> None:
    pixels = write_images(tmp_path, 12, mode=mode)
    found = read(Wish(tmp_path, "folders", pictures=Pictures((-1, 1))), [FloatPort("image", shape)], SCORES)
    expected = np.stack(pixels).reshape(12, 4, 6, -1).astype(np.float64) / 127.5 - 1
    if first:
        expected = np.moveaxis(expected, -1, 1)
    assert found.inputs["image"].dtype == np.float32
    np.testing.assert_allclose(found.inputs["image"].reshape(expected.shape), expected, atol=1e-6)
    assert found.labels is not None
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path, 12)
    with pytest.raises(InputError, match=r"6 pixels wide and 4 high.*takes 8 x 8"):
        read(Wish(tmp_path), [FloatPort("image", (1, 8, 8, 3))], SCORES)
    (tmp_path / "a" / "00.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(InputError, match="cannot read the image"):
        read(Wish(tmp_path), [FloatPort("image", (1, 4, 6, 3))], SCORES)
    with pytest.raises(InputError, match="none of 1 or 3 channels"):
        read(Wish(tmp_path), [FloatPort("image", (1, 10))], SCORES)


def test_images_are_normalised_as_for_training(tmp_path: Path) -> None:
    pixels = np.stack(write_images(tmp_path, 12)).astype(np.float64)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    port = FloatPort("image", (1, 3, 4, 6))
    found = read(Wish(tmp_path, pictures=Pictures(mean=mean, std=std)), [port], SCORES)
    expected = np.moveaxis((pixels / 255 - mean) / std, -1, 1)
    np.testing.assert_allclose(found.inputs["image"][:, 0], expected, atol=1e-5)
    with pytest.raises(InputError, match=r"--std has 2 numbers, the input 'image' has 3 channels"):
        read(Wish(tmp_path, pictures=Pictures(std=(1.0, 2.0))), [port], SCORES)


def test_images_of_another_size_are_cropped_or_stretched_as_wanted(tmp_path: Path) -> None:
    """A bar of white in the middle third keeps its place when the sides are cut off, and its share when stretched."""
    image = np.zeros((8, 24), np.uint8)
    image[:, 8:16] = 255
    Image.fromarray(image).save(tmp_path / "bar.png")
    port = FloatPort("image", (1, 4, 4, 1))
    cropped = read(Wish(tmp_path, pictures=Pictures(resize="crop")), [port], SCORES).inputs["image"]
    assert cropped.mean() > 0.9
    stretched = read(Wish(tmp_path, pictures=Pictures(resize="stretch")), [port], SCORES).inputs["image"]
    assert stretched.mean() == pytest.approx(1 / 3, abs=0.05)


def test_arrays_are_not_normalised_silently(tmp_path: Path) -> None:
    arrays, wish = tmp_path / "data.npz", Pictures(mean=(0.5,))
    arrays.touch()
    expect_images(Pictures(), None, arrays)
    expect_images(wish, None, arrays, tmp_path)
    for front_end, sources in ((None, [arrays]), ("micro", [tmp_path])):
        with pytest.raises(UsageError, match="for folders of images"):
            expect_images(wish, front_end, *sources)


def test_classes_are_counted_over_all_folders(tmp_path: Path) -> None:
    """An empty folder counts, and deeper ones do not; where there are more or fewer than classes, nobody guesses."""
    write_images(tmp_path, 12)
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    (tmp_path / "c" / "deeper").mkdir()
    (tmp_path / "c" / "02.png").rename(tmp_path / "c" / "deeper" / "02.png")
    port = FloatPort("image", (1, 4, 6, 3))
    found = read(Wish(tmp_path, "folders"), [port], SCORES)
    assert found.labels is not None
    assert found.labels.tolist() == [1] * 4 + [2] * 4
    (tmp_path / "a").rmdir()
    with pytest.raises(InputError, match="has 2 folders, and the model 3 classes"):
        read(Wish(tmp_path, "folders"), [port], SCORES)
    (tmp_path / "b" / "01.png").rename(tmp_path / "01.png")
    with pytest.raises(InputError, match=r"01\.png lies in no folder for its class"):
        read(Wish(tmp_path, "folders"), [port], SCORES)


def write_wav(path: Path, samples: Array, rate: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def test_recordings_become_the_front_ends_features(tmp_path: Path) -> None:
    front_end = audio.load("micro")
    assert front_end.scale is not None
    assert front_end.zero_point is not None
    frames = 9
    length = front_end.window + (frames - 1) * front_end.step
    rng = np.random.default_rng(0)
    sounds = [rng.integers(-9000, 9000, size).astype(np.int16) for size in (length, length // 2, 3 * length)]
    for name, sound in zip("abc", sounds, strict=True):
        write_wav(tmp_path / name / "x.wav", sound, front_end.sample_rate)
    port = FloatPort("features", (1, frames, front_end.features))
    found = read(Wish(tmp_path, "folders", front_end), [port], SCORES)
    windows = []
    for sound in sounds:
        padded = np.pad(sound, (0, max(0, length - len(sound))))
        integers = audio.features(front_end, padded).astype(np.float64)
        reals = (integers - front_end.zero_point) * front_end.scale
        windows += [reals[start : start + frames] for start in range(0, len(reals) - frames + 1, frames)]
    assert len(windows) >= 5  # the longest gives several
    np.testing.assert_allclose(found.inputs["features"], np.stack(windows)[:, np.newaxis], atol=1e-5)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1] + [2] * (len(windows) - 2)
    with pytest.raises(InputError, match="no number of frames"):
        read(Wish(tmp_path, None, front_end), [FloatPort("features", (1, 7, 3))], SCORES)
    with pytest.raises(InputError, match="Recordings need --frontend"):
        read(Wish(tmp_path), [port], SCORES)


@pytest.mark.parametrize("content", ["1\n0\n2\n", "npy", "one-hot"])
def test_labels_are_read_from_files(content: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 5)))
    file = tmp_path / ("labels.txt" if content[0] == "1" else "labels.npy")
    if content == "npy":
        np.save(file, np.asarray([1, 0, 2], np.uint8))
    elif content == "one-hot":
        np.save(file, np.eye(3)[[1, 0, 2]])
    else:
        file.write_text(content)
    found = read(Wish(tmp_path / "x.npy", str(file)), [FloatPort("x", (1, 5))], SCORES)
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0, 2]


def test_right_outputs_are_no_classes(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(4, 5))
    np.savez(tmp_path / "x.npz", x=x, target=x[:, :3])
    found = read(Wish(tmp_path / "x.npz", "target"), [FloatPort("x", (1, 5))], SCORES)
    assert found.labels is not None
    assert np.array_equal(found.labels, x[:, :3])
    with pytest.raises(InputError, match=r"no such file, and .* has no array 'y'"):
        read(Wish(tmp_path / "x.npz", "y"), [FloatPort("x", (1, 5))], SCORES)
    with pytest.raises(UsageError, match="holds no recordings"):
        read(Wish(tmp_path / "x.npz", None, audio.load("micro")), [FloatPort("x", (1, 5))], SCORES)


def test_arrays_are_found_by_the_name_that_the_user_gave(tmp_path: Path) -> None:
    """TensorFlow's converter decorates names."""
    rng = np.random.default_rng(0)
    arrays = {"left": rng.normal(size=(4, 5)), "right": rng.normal(size=(4, 2))}
    np.savez(tmp_path / "x.npz", **arrays)
    ports = [FloatPort("serving_default_right:0", (1, 2)), FloatPort("left", (1, 5))]
    found = read(Wish(tmp_path / "x.npz"), ports, SCORES)
    assert np.array_equal(found.inputs[ports[0].name].reshape(4, 2), arrays["right"].astype(np.float32))
    assert np.array_equal(found.inputs["left"].reshape(4, 5), arrays["left"].astype(np.float32))
