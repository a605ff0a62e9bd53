"""Options that several commands have, and what they mean."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tinygen.errors import UsageError
from tinygen.goal import OBJECTIVES
from tinygen.interface import ARENAS, PORTS, ROWS, STATIC, Interface
from tinygen.options import INTERFACES, LAYOUTS, OF_FORMAT, PROFILES, Streaming

if TYPE_CHECKING:
    from tinygen.listening.hearing import Hearing
    from tinygen.mlperf.task import TaskWish
    from tinygen.quantize import Wish
    from tinygen.quantize.images import Pictures

DEFAULT_BOARD = "qemu-mps2-an386"

PATH = click.Path(path_type=Path)
OUT = click.argument("out", type=PATH)
MODEL = click.argument("model", type=PATH)
BOARD = click.option(
    "--board", "-b", default=DEFAULT_BOARD, show_default=True, help="A board's name (tinygen boards), or a TOML file."
)
PORT = click.option(
    "--port", metavar="PORT", help="Serial port or pyserial URL: /dev/ttyACM0, COM3, socket://127.0.0.1:4000."
)
PORTS_OF_BOARDS = click.option(
    "--port",
    multiple=True,
    metavar="PORT",
    help="Serial port or pyserial URL, of several boards in their order: /dev/ttyACM0, COM3, rfc2217://lab:4000. "
    "Through a URL nothing is flashed: the firmware has to be there.",
)
PROFILE = click.option(
    "--profile",
    type=click.Choice(PROFILES),
    callback=lambda _context, _parameter, chosen: chosen or OF_FORMAT,
    help="Whose arithmetic to follow, to the last bit; by default tflm for .tflite, onnxruntime for .onnx.",
)
BATCH = click.option(
    "--batch",
    type=click.IntRange(1, 65_535),
    help="Inferences in one invoke, for models whose batch is open; by default as many as the file says, which is one.",
)
IO = click.option(
    "--io",
    type=click.Choice(INTERFACES),
    default=INTERFACES[0],
    show_default=True,
    help="int8: take the integers behind float32 and uint8 inputs and outputs, without QUANTIZE and DEQUANTIZE.",
)
LAYOUT = click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default=LAYOUTS[0],
    show_default=True,
    help="nhwc: inputs and outputs have channels last, where the file has them second and the layers want them last.",
)
STREAMING = click.option(
    "--streaming",
    is_flag=False,
    flag_value="0",
    type=click.IntRange(0),
    metavar="[HOP]",
    help="Take only HOP new frames in an invoke, where that gives what the whole window would; by default as few as "
    "the model's strides allow.",
)
TIME_AXIS = click.option(
    "--time-axis",
    type=click.IntRange(0),
    metavar="N",
    help="For --streaming: the input's dimension of frames; by default the first after the batch that is not 1.",
)
OPTIMIZE = click.option(
    "--optimize",
    type=click.Choice(OBJECTIVES),
    default=OBJECTIVES[0],
    show_default=True,
    help="What the kernels are chosen and written for.",
)
KERNEL = click.option(
    "--kernel", "kernels", multiple=True, metavar="NAME", help="Take this kernel wherever it can be used."
)
ARENA = click.option(
    "--arena",
    type=click.Choice(ARENAS),
    default=STATIC,
    show_default=True,
    help="external: the application gives the model its memory, and may use it for other things in between.",
)
INPUT = click.option(
    "--input",
    "input_memory",
    type=click.Choice(PORTS),
    default=STATIC,
    show_default=True,
    help="external: inputs are read where the application has them, and take no memory of the model's.",
)
OUTPUT = click.option(
    "--output",
    "output_memory",
    type=click.Choice(PORTS),
    default=STATIC,
    show_default=True,
    help="external: outputs are written where the application wants them, and take no memory of the model's.",
)
INPUT_ROWS = click.option(
    "--input-rows", is_flag=True, help="The input is fed row by row, as it comes, and is never there whole."
)
FLASH_BUDGET = click.option(
    "--flash-budget", type=click.IntRange(1), metavar="BYTES", help="For the library's code and constants."
)
RAM_BUDGET = click.option(
    "--ram-budget", type=click.IntRange(1), metavar="BYTES", help="For the library's arena and states."
)
PLACE = click.option(
    "--place",
    "places",
    multiple=True,
    metavar="PART=REGION",
    help="Put weights, code, hot code, arena, scratch or state into a region of the board; REGION auto: the fastest "
    "that has room.",
)
HOT = click.option(
    "--hot",
    metavar="BYTES|LAYERS",
    default="",
    help="What --place hot=REGION is about: so many bytes of code, or layer_02,layer_05; by default what fits.",
)
OF = click.option("--model", "of", metavar="NAME", help="Which of the models that OUT was built from.")
FRONT_END = click.option(
    "--frontend",
    metavar="NAME|FILE.toml",
    help="Take samples: with this audio front end before the model, from samples to results.",
)
HOP = click.option(
    "--hop",
    type=int,
    metavar="FRAMES",
    help="For --frontend before a model of whole windows: new frames for each result; by default 1.",
)
DETECTOR = click.option(
    "--detector",
    metavar="FILE",
    help="For --frontend: hear words in results, as this TOML file says, or the JSON that a wake word came with.",
)
LABELS = click.option(
    "--labels",
    metavar="A,B,...|FILE",
    help="For --frontend: the words that the model's outputs stand for; - for one that is no word.",
)
PLAY = click.option(
    "--play",
    type=PATH,
    metavar="FILE.png",
    help="Draw what was played, and what the board made of it: waveform, features, results and words over time.",
)
DATA = click.option(
    "--data",
    required=True,
    type=PATH,
    help="Samples as the float model takes them, .npz or .npy; or a folder of images, with --frontend of .wav files.",
)
LABELLED = click.option(
    "--labels",
    metavar="KEY|FILE|folders",
    help="For accuracy: an array of the .npz, a file, or folders, where each class has one; by default the array "
    "labels, if there is one.",
)
_PIXELS = click.option(
    "--pixels",
    metavar="LOW,HIGH",
    default="0,1",
    show_default=True,
    help="For images: what the pixel values 0 and 255 become.",
)
_MEAN = click.option(
    "--mean", metavar="R,G,B", help="For images: what is subtracted then, one number or one for each channel."
)
_STD = click.option("--std", metavar="R,G,B", help="For images: what the rest is divided by, likewise.")
_RESIZE = click.option(
    "--resize",
    type=click.Choice(("crop", "stretch")),
    help="For images of other sizes than the input's: crop the middle, after scaling until it is covered, or stretch "
    "both sides; else they are refused.",
)
TRAINED_WITH = click.option(
    "--frontend", metavar="NAME|FILE.toml", help="For recordings: the audio front end that models were trained with."
)
FORCE = click.option("--force", is_flag=True, help="Replace the file, if there is one.")
RUNNER = click.option(
    "--runner",
    type=click.Choice(("tinygen", "mlperf")),
    default="tinygen",
    show_default=True,
    help="Whose protocol the firmware speaks: mlperf, that of MLPerf Tiny's own runner.",
)
TASK = click.option(
    "--task",
    metavar="kws|vww|ic|ad",
    help="For --runner mlperf: which of its tasks the model is for; by default as its shapes tell.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")


def ports_of_boards(names: Sequence[str], ports: Sequence[str]) -> list[tuple[str, str | None]]:
    """Boards with their ports, as several --on and --port mean them; None: a board's port is looked for."""
    if len(ports) > len(names):
        raise UsageError(f"--port was given {len(ports)} times, for {len(names)} boards", "Give one for each --on.")
    return [(name, ports[index] if index < len(ports) else None) for index, name in enumerate(names)]


def streaming_of(hop: int | None, axis: int | None) -> Streaming | None:
    """What --streaming and --time-axis mean; a hop of 0 is the least."""
    if hop is None and axis is not None:
        raise UsageError("--time-axis is for --streaming", "Add --streaming, or leave it out.")
    return None if hop is None else Streaming(hop or None, axis)


def hearing_of(front_end: str | None, hop: int | None, detector: str | None, labels: str | None) -> Hearing | None:
    """What --frontend, --hop, --detector and --labels mean."""
    from tinygen.listening.detector import labels_of
    from tinygen.listening.detector_file import detector_wish
    from tinygen.listening.hearing import hear_with

    if front_end is None:
        for option, value in (("--hop", hop), ("--detector", detector), ("--labels", labels)):
            if value is not None:
                raise UsageError(f"{option} is for --frontend", "Add --frontend, or leave it out.")
        return None
    wish = None
    if detector is not None or labels is not None:
        wish = detector_wish(detector, () if labels is None else labels_of(labels))
    return hear_with(front_end, hop, wish)


def mlperf_of(runner: str, task: str | None) -> TaskWish | None:
    """What --runner and --task mean."""
    from tinygen.mlperf.task import TaskWish

    if runner != "mlperf":
        if task is not None:
            raise UsageError("--task is for --runner mlperf", "Add --runner mlperf, or leave it out.")
        return None
    return TaskWish(task)


def interface_of(arena: str, input_memory: str, output_memory: str, input_rows: bool) -> Interface:
    """What --arena, --input, --output and --input-rows mean."""
    if input_rows and input_memory != STATIC:
        raise UsageError("--input-rows and --input external are two ways to give the input", "Choose one of them.")
    return Interface(arena, input=ROWS if input_rows else input_memory, output=output_memory)


def pictures(command: Callable[..., None]) -> Callable[..., None]:
    """The options for images, --pixels, --mean, --std and --resize, as one parameter `pictures`."""

    @functools.wraps(command)
    def with_pictures(pixels: str, mean: str | None, std: str | None, resize: str | None, **others: object) -> None:
        from tinygen.quantize.images import Pictures

        low_high = _numbers("--pixels", pixels, "two numbers", "--pixels=-1,1")
        if len(low_high) != 2:
            raise UsageError(f"--pixels {pixels!r} is not two numbers", "Write for example --pixels=-1,1.")
        means = _numbers("--mean", mean or "0", "numbers", "--mean 0.485,0.456,0.406")
        stds = _numbers("--std", std or "1", "numbers", "--std 0.229,0.224,0.225")
        if min(stds) <= 0:
            raise UsageError(f"--std {std}: standard deviations are greater than 0", "Give those of the training.")
        command(pictures=Pictures((low_high[0], low_high[1]), means, stds, resize), **others)

    return _PIXELS(_MEAN(_STD(_RESIZE(with_pictures))))


def _numbers(option: str, text: str, what: str, example: str) -> tuple[float, ...]:
    """The finite numbers between commas. Raises UsageError."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(map(math.isfinite, found)):
        raise UsageError(f"{option} {text!r} is not {what}", f"Write for example {example}.")
    return found


def expect_images(pictures: Pictures, front_end: str | None, *sources: Path) -> None:
    """Raises UsageError for options for images where all sources of samples are files of arrays, or recordings."""
    from tinygen.quantize.images import Pictures

    if pictures != Pictures() and (front_end is not None or all(source.is_file() for source in sources)):
        raise UsageError(
            f"--pixels, --mean, --std and --resize are for folders of images, and {sources[0]} is none",
            "Leave them out: arrays are taken as they are, and recordings as --frontend makes them.",
        )


def samples_of(
    data: Path, labels: str | None, front_end: str | None, pictures: Pictures, any_layout: bool = False
) -> Wish:
    """What --data, --labels, --frontend and the options for images mean."""
    from tinygen import audio
    from tinygen.quantize import Wish

    return Wish(data, labels, None if front_end is None else audio.load(front_end), pictures, any_layout)
