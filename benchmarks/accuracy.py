"""How far MLPerf Tiny's features in integers are from their definition in floats, and which decisions that changes.

    python benchmarks/accuracy.py            # results/accuracy.json

Over all recordings in ../shared/data/speech and examples/keywords, as they are and at full scale: both features go to
the model, window by window, a new one for each frame.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from models import HERE, RESULTS, SHARED

sys.path.insert(0, str(HERE.parent / "tests"))

from float_features import exact_features
from speech import samples_of

from tinygen import audio, pipeline, reference
from tinygen.ir import Array

CASES = (("mfcc-mlperf-kws", "kws_ds_cnn"), ("logmel-mlperf-sww", "sww_streaming_wakeword"))
FOLDERS = (SHARED / "data" / "speech", HERE.parent / "examples" / "keywords" / "recordings")
RATE = 16_000


def recordings() -> list[Array]:
    """int16 (samples,) each: as they are, and as loud as they can be."""
    found = [samples_of(path) for folder in FOLDERS for path in sorted(folder.glob("*.wav"))]
    loud = [
        np.rint(samples * ((2**15 - 1) / max(int(np.abs(samples.astype(np.int64)).max()), 1))).astype(np.int16)
        for samples in found
    ]
    return [*found, *loud]


def measure(front_end_name: str, model_name: str, given: list[Array]) -> dict[str, Any]:
    """A row of the results."""
    front_end = audio.load(front_end_name)
    graph = pipeline.read(SHARED / "models" / "mlperf" / f"{model_name}.tflite").graph
    tensor = graph.tensors[graph.inputs[0]]
    window = tensor.elements // front_end.features
    errors, margins, decisions, changed, closest = [], [], 0, 0, []
    for samples in given:
        if len(samples) < front_end.window:
            continue
        ours, exact = audio.features(front_end, samples), exact_features(front_end, samples)
        errors.append(np.abs(ours.astype(np.int64) - exact).reshape(-1))
        for start in range(len(ours) - window + 1):
            one, other = (
                reference.outputs(graph, [found[start : start + window].reshape(tensor.shape)])[0].reshape(-1)
                for found in (ours, exact)
            )
            decisions += 1
            margins.append(int(np.abs(one.astype(np.int64) - other).max()))
            if one.argmax() != other.argmax():
                changed += 1
                second, first = np.sort(other.astype(np.int64))[-2:]
                closest.append(int(first - second))
    error = np.concatenate(errors)
    return {
        "front_end": front_end_name,
        "model": model_name,
        "recordings": len(given),
        "seconds": round(sum(map(len, given)) / RATE, 1),
        "values": error.size,
        "equal": round(float((error == 0).mean()), 5),
        "within_one_step": round(float((error <= 1).mean()), 5),
        "largest_error": int(error.max()),
        "decisions": decisions,
        "changed": changed,
        "changed_with_lead": sorted(closest),
        "largest_output_error": max(margins),
        "mean_output_error": round(float(np.mean(margins)), 3),
    }


def main() -> None:
    """Measure, print, and write."""
    given = recordings()
    rows = [measure(*case, given) for case in CASES]
    text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"
    print(text, end="")
    Path(RESULTS / "accuracy.json").write_text(text)


if __name__ == "__main__":
    main()
