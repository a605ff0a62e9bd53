"""Streaming wake-word models over minutes of speech: exact in every byte, from samples to results, state included.

    python benchmarks/hearing.py                        # two minutes: results/hearing.json
    python benchmarks/hearing.py --minutes 10

The samples go through the public front end (pymicro-features), and its features to TensorFlow Lite Micro's interpreter.
What that makes of them, every tensor that it keeps and every result, is compared with the generated C: layer by layer
from the same features, and result by result from the samples, cut at random. The exit code is 1 when a byte differs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from models import HERE, RESULTS, SHARED
from rich.console import Console

sys.path.insert(0, str(HERE.parent / "tests"))

from speech import features, inputs, recording, samples_of

from tinygen import audio, host, manifest, output, pipeline, verify
from tinygen.ir import Array
from tinygen.listening.hearing import hear_with
from tinygen.listening.peers import host_listener
from tinygen.listening.recordings import cut
from tinygen.runtimes import RUNTIMES

MODELS = ("okay_nabu_v2", "vad_v2")
RATE = 16_000
MINUTES = 2.0
SPOKEN = ("marvin_10s", "yes_1000ms", "no_1000ms")
NOISE = ("noise_1000ms", "silence_1000ms")


def speech(seconds: float, seed: int = 0) -> Array:
    """int16 (samples,): recordings in any order and loudness up to clipping, in noise that comes and goes."""
    rng = np.random.default_rng(seed)
    voices, noises = ([samples_of(recording(name)).astype(np.float64) for name in names] for names in (SPOKEN, NOISE))
    total = round(seconds * RATE)
    mixed = np.zeros(total)
    at = 0
    while at < total:
        voice = voices[rng.integers(len(voices))] * np.exp(rng.uniform(-4, 1))
        piece = mixed[at : at + len(voice)]
        piece += voice[: len(piece)]
        at += len(voice) + int(rng.integers(0, RATE))
    noise = np.concatenate([noises[index] for index in rng.integers(len(noises), size=total // RATE + 1)])[:total]
    mixed += noise * np.exp(3 * np.sin(np.arange(total) / (7 * RATE)) - 2)
    return np.clip(np.rint(mixed), -(2**15), 2**15 - 1).astype(np.int16)


def measure(name: str, samples: Array) -> dict[str, Any]:
    """A row of the results."""
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
        out = Path(folder) / "out"
        model = pipeline.read(SHARED / "models" / "esphome" / f"{name}.tflite")
        output.write(pipeline.build(model, "qemu-mps2-an386", "net", hearing=hear_with("micro")).files, out)
        content = manifest.load(out)
        assert content.front_end is not None
        public = features(samples)
        given = inputs(name, public, content.front_end.new)
        reports = verify.verify(
            model, content, given, [host.host_peer(out, content), RUNTIMES["tflm"].peer(out, content)]
        )
        with RUNTIMES["tflm"].peer(out, content) as runtime, host_listener(out, content) as library:
            expected = [runtime.run(sample.bytes, sample.reset).outputs for sample in given]
            found = list(_heard(library, samples))
    ours = audio.features(audio.load("micro"), samples)
    return {
        "model": name,
        "seconds": len(samples) / RATE,
        "features": public.size,
        "features_differing": int(np.count_nonzero(ours != public)),
        "steps": len(given),
        **{f"{key}_layers": report.layers for key, report in zip(("c", "runtime"), reports, strict=True)},
        **{f"{key}_bytes": report.bytes for key, report in zip(("c", "runtime"), reports, strict=True)},
        "steps_differing": sum(report.differing for report in reports),
        "results_from_samples": len(found),
        "results_differing": sum(a != b for a, b in zip(expected, found, strict=False))
        + abs(len(expected) - len(found)),
        "results_above_half": sum(result[0][0] > 127 for result in found),
    }


def _heard(library: Any, samples: Array) -> Iterator[Any]:
    for index, piece in enumerate(cut(samples, 1)):
        for heard in library.listen(piece, index == 0):
            yield heard.outputs


def main() -> None:
    """Compare, print, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of samples; the results are written by default")
    options = parser.parse_args()
    samples = speech(60 * options.minutes)
    console = Console(stderr=True)
    rows = []
    for name in MODELS:
        with console.status(name):
            rows.append(measure(name, samples))
        print(json.dumps(rows[-1]))
    if options.minutes == MINUTES:
        text = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        (RESULTS / "hearing.json").write_text(f"[\n{text}\n]\n")
    sys.exit(any(row[f"{what}_differing"] for row in rows for what in ("features", "steps", "results")))


if __name__ == "__main__":
    main()
