"""From an output folder to all files of a package."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinygen import manifest
from tinygen.c_text import comment_text
from tinygen.emit import render
from tinygen.errors import InputError
from tinygen.export.facts import Facts, sizes, summary
from tinygen.export.kinds import Kind, kind_of
from tinygen.export.sample import SampleModel, sample_of, sample_values
from tinygen.export.sources import FOLDER, Sources, sources_of
from tinygen.manifest import Manifest
from tinygen.resources import resource
from tinygen.target import FLASH_SPACE, Core, load_core


def package_files(
    out: Path,
    models: Sequence[Manifest],
    kind_name: str,
    facts: Facts,
    sample: Path | None = None,
    model_license: Path | None = None,
) -> Mapping[str, bytes]:
    """All files by path, sorted; `models` are all of the output folder.

    `sample` has inputs for the example, `model_license` what holds for the weights. Raises UsageError, InputError and
    OutputError.
    """
    kind = kind_of(kind_name)
    if sample is not None and len(models) > 1:
        raise InputError(f"{sample} is for one model, and {out} holds {len(models)}", "Leave --sample out.")
    sources = sources_of(out, models)
    samples = [sample_of(out, model, sample) for model in models]
    values = _values(kind_name, kind, facts, sources, samples)
    texts = {path.format(name=facts.name): render(template, **values) for path, template in kind.files.items()}
    texts |= {
        "README.md": render("export/README.md.j2", **values),
        kind.example: render(kind.example_template, **values, entry=kind.entry),
        kind.sample: render("export/sample.h.j2", **values),
    }
    licence = render("export/MODEL_LICENSE.txt.j2", **values).encode()
    files = {
        **sources.files,
        **{path: text.encode() for path, text in texts.items()},
        "LICENSE": resource("LICENSE").read_bytes(),
        "MODEL_LICENSE.txt": licence if model_license is None else _read(model_license),
    }
    files[manifest.FILE_NAME] = _manifest(models, files, sources).encode()
    return dict(sorted(files.items()))


def _values(
    kind_name: str, kind: Kind, facts: Facts, sources: Sources, samples: Sequence[SampleModel]
) -> Mapping[str, object]:
    models = [each.manifest for each in samples]
    core = load_core(models[0].core)
    return {
        **sample_values(samples),
        "facts": facts,
        "folder": kind_name.replace("-", "_"),
        "example": kind.example,
        "summary": summary(models),
        "names": " and ".join(model.name for model in models),
        "does": "; ".join(_does(model) for model in models),
        "core_title": core.title,
        "runs": _runs(sources, core),
        "has_assembly": sources.has_assembly,
        "compiled": sources.compiled,
        "headers": [each.header for each in samples],
        "rows": [
            {
                **sizes(model),
                "name": model.name,
                "file": comment_text(model.model.file, 200),
                "sha256": model.model.sha256,
            }
            for model in models
        ],
    }


def _runs(sources: Sources, core: Core) -> str:
    """Where the package runs, in a sentence."""
    if FLASH_SPACE in core.features:
        return "It runs on AVR, where constants stay in flash, and on any core of 32 bits: all of it is portable C."
    if sources.core is None:
        return "It runs on any core of 32 bits: all of it is portable C99."
    return (
        f"It runs on any core of 32 bits: {sources.core} and its like take code of their own, all others portable C99, "
        "which computes the same."
    )


def _does(model: Manifest) -> str:
    """From what to what, in words."""
    outputs = " and ".join(_port(port) for port in model.outputs)
    if model.front_end is not None:
        return f"from samples of {model.front_end.sample_rate:,} Hz to {outputs}"
    return f"from {' and '.join(_port(port) for port in model.inputs)} to {outputs}"


def _port(port: manifest.Port) -> str:
    return f"{port.dtype} {'x'.join(map(str, port.shape))}"


def _manifest(models: Sequence[Manifest], files: Mapping[str, bytes], sources: Sources) -> str:
    """The models' manifest, with what is where in the package. It holds neither the models nor what they heard with."""
    hashes = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    return manifest.to_json(
        [
            dataclasses.replace(
                model,
                model=dataclasses.replace(model.model, path=""),
                front_end=model.front_end and dataclasses.replace(model.front_end, path=""),
                include_dirs=(FOLDER,),
                sources=sources.compiled,
                host_include_dirs=(FOLDER,),
                host_sources=sources.compiled,
                files=hashes,
            )
            for model in models
        ]
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "Check the path.") from None
