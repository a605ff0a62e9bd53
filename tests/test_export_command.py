"""tinygen export: what is refused and said in words, what it replaces, and whose a package is."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import toy_model
from building import DIGITS
from commands import Run
from test_export import built, packed

from tinygen.errors import OutputError, TinygenError, UsageError
from tinygen.export.facts import Facts, name_of


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("export") / "out", [("digits", (DIGITS / "digits.tflite").read_bytes())])


@pytest.fixture
def export(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run("export", *arguments)


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        ({"version": "1.0"}, UsageError, "no version"),
        ({"name": "int"}, UsageError, "cannot be the model's name"),
        ({"author": "a\nb"}, UsageError, "cannot be written"),
        ({"author": 'a"b'}, UsageError, "cannot be written"),
        ({"url": "nowhere"}, UsageError, "no address"),
    ],
)
def test_facts_that_would_break_a_file_are_refused(
    choices: dict[str, str], error: type[TinygenError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        Facts(**{"name": "digits"} | choices)
    assert caught.value.remedy


def test_names_of_packages_are_names_of_libraries() -> None:
    def named(*names: str) -> str:
        found = name_of([dataclasses.replace(toy_model.manifest("any"), name=name) for name in names])
        Facts(found)
        return found

    assert named("kws") == "kws"
    assert named("kws", "vww") == "kws_and_vww"
    assert named("a" * 31 + "b", "c") == "a" * 25 + "_models"


def test_an_edited_library_is_not_packed(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(digits, out)
    source = out / "host" / "src" / "digits.c"
    source.write_text(source.read_text() + "/* mine */\n")
    with pytest.raises(OutputError, match=r"digits\.c was changed since"):
        packed(out, "plain")
    source.unlink()
    with pytest.raises(OutputError, match=r"cannot read .*digits\.c"):
        packed(out, "plain")


def test_what_is_there_is_replaced_by_force_only(export: Run, digits: Path, tmp_path: Path) -> None:
    archive = tmp_path / "digits-arduino.zip"
    assert export(digits, "--as", "arduino")[0] == 0
    first = archive.read_bytes()
    assert export(digits, "--as", "arduino")[0] == 0, "the same again is no loss"
    code, _, err = export(digits, "--as", "arduino", "--package-version", "2.0.0")
    assert code == 1 and "is there already" in err and "--force" in err and archive.read_bytes() == first
    assert export(digits, "--as", "arduino", "--package-version", "2.0.0", "--force")[0] == 0
    assert archive.read_bytes() != first

    folder = tmp_path / "package"
    assert export(digits, "--as", "plain", "-o", folder)[0] == 0
    assert export(digits, "--as", "plain", "-o", folder)[0] == 0
    code, _, err = export(digits, "--as", "cmake", "-o", folder)
    assert code == 1 and "is not empty" in err and not (folder / "CMakeLists.txt").exists()
    assert export(digits, "--as", "cmake", "-o", folder, "--force")[0] == 0
    assert (folder / "CMakeLists.txt").exists() and not (folder / "digits.mk").exists()

    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.txt").write_text("years of work")
    code, _, err = export(digits, "--as", "plain", "-o", own, "--force")
    assert code == 1 and "was not written by tinygen" in err
    assert [path.name for path in own.iterdir()] == ["thesis.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits-arduino.zip", "own", "package"]


def test_a_package_says_whose_it_is(export: Run, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "terms.txt").write_text("Ask first.\n")
    code, out, _ = export(
        digits, "--as", "arduino", "-o", "p", "--name", "ziffern", "--author", "Ada Lovelace", "--package-version",
        "1.2.3", "--url", "https://example.org/z", "--model-license", "terms.txt", "--json",
    )  # fmt: skip
    assert code == 0 and json.loads(out)["name"] == "ziffern"
    assert (tmp_path / "p" / "MODEL_LICENSE.txt").read_text() == "Ask first.\n"
    properties = (tmp_path / "p" / "library.properties").read_text()
    assert "name=ziffern\nversion=1.2.3\nauthor=Ada Lovelace\n" in properties
    assert "url=https://example.org/z\n" in properties


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--as", "cobol"], 2, "Choose one of arduino"),
        ([], 2, "--as"),
        (["--as", "plain", "--sample", "none.npz"], 1, "there is no file none.npz"),
        (["--as", "plain", "--sample", "sound.wav"], 1, "takes no recordings"),
        (["--as", "plain", "--model-license", "none.txt"], 1, "cannot read none.txt"),
        (["--as", "plain", "--package-version", "one"], 2, "no version"),
    ],
)
def test_what_cannot_be_packed_is_said_in_words(
    export: Run, digits: Path, tmp_path: Path, arguments: Sequence[str], code: int, words: str
) -> None:
    ended, out, err = export(digits, *arguments)
    assert ended == code and words in err and not out and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_not_built_is_said_to_be_one(export: Run, tmp_path: Path) -> None:
    code, _, err = export(tmp_path, "--as", "plain")
    assert code == 1 and "was not written by `tinygen build`" in err
