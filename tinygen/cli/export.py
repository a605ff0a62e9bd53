"""tinygen export."""

from __future__ import annotations

from pathlib import Path

import click

from tinygen.cli import options
from tinygen.cli.console import show, show_json


@click.command()
@options.OUT
@click.option(
    "--as",
    "kind",
    required=True,
    metavar="KIND",
    help="For whom: arduino, platformio, zephyr, esp-idf, cmake, or plain, a folder of C with a Makefile.",
)
@click.option(
    "--out",
    "-o",
    "target",
    type=options.PATH,
    help="A .zip, or a folder, to write; by default NAME-KIND.zip in this folder.",
)
@click.option("--name", help="The package's name; by default the model's.")
@click.option("--package-version", "version", default="1.0.0", show_default=True, help="Its version, three numbers.")
@click.option("--author", default="tinygen", show_default=True, help="Who it is from.")
@click.option("--url", default="https://example.com/", show_default=True, help="Where people read more.")
@click.option(
    "--sample",
    type=options.PATH,
    help="What the example computes, .npz or .npy; of a model with a front end, .wav. By default random numbers.",
)
@click.option("--model-license", type=options.PATH, help="The licence of the model's weights, a text file.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@options.JSON
def export(
    out: Path,
    kind: str,
    target: Path | None,
    name: str | None,
    version: str,
    author: str,
    url: str,
    sample: Path | None,
    model_license: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a package of OUT's libraries, for a project that somebody already has.

    It holds portable C besides what was built for one core, a licence, the manifest, and an example that computes a
    sample and compares the result with what it has to be.

    \b
    tinygen export out --as arduino
    tinygen export out --as cmake -o third_party/kws
    tinygen export out --as esp-idf -o kws.zip --package-version 1.2.0 --sample yes.npz
    """
    from tinygen import manifest, output
    from tinygen.export.archive import zipped
    from tinygen.export.facts import PLACEHOLDER, Facts, name_of
    from tinygen.export.kinds import kind_of
    from tinygen.export.package import package_files

    title = kind_of(kind).title
    models = manifest.load_all(out)
    facts = Facts(name or name_of(models), version, author, url)
    files = package_files(out, models, kind, facts, sample, model_license)
    target = target or Path(f"{facts.name}-{kind}.zip")
    article = "an" if title[0] in "AE" else "a"
    if target.suffix.lower() == ".zip":
        output.write_file(zipped(files, facts.name), target, force)
    else:
        output.write_package(files, target, force)
    if as_json:
        show_json({"package": str(target), "kind": kind, "name": facts.name, "files": list(files)})
        return
    show(
        f"Written to {target}: {facts.name} {facts.version}, {article} {title} of {len(files)} files. "
        "Its README.md says how to use it."
    )
    if facts.url == PLACEHOLDER:
        show("Before others get it, say whose it is: --author, --url, and --model-license.")
