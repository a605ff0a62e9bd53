"""The package's front door, and that an installed wheel has all that a checkout has."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import tinygen
from tinygen import audio, errors
from tinygen.errors import TinygenError

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("package", [tinygen, audio])
def test_all_names_what_the_package_imports(package: ModuleType) -> None:
    tree = ast.parse(Path(str(package.__file__)).read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("tinygen")
        for alias in node.names
    }
    assert imported == set(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__)


def test_the_command_line_starts_without_what_only_commands_need() -> None:
    # What Ctrl-C interrupts before there is a command ends in a traceback.
    script = "import sys, tinygen.cli; assert not {'numpy', 'onnx', 'jinja2', 'tinygen.pipeline'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_there_is_nothing_else_in_the_package() -> None:
    with pytest.raises(AttributeError, match="'tinygen' has no attribute 'biuld'"):
        tinygen.biuld  # noqa: B018


def test_error_tree_is_the_one_that_is_drawn() -> None:
    drawn = errors.__doc__ or ""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TinygenError)]
    assert all(kind.__name__ in drawn for kind in kinds)


def is_program(part: ast.stmt) -> bool:
    """Whether a file does this only where it is run by itself."""
    return isinstance(part, ast.If) and ast.unparse(part.test) == "__name__ == '__main__'"


def test_only_the_command_line_prints_and_exits() -> None:
    for path in sorted((ROOT / "tinygen").rglob("*.py")):
        if path.parent.name == "cli":
            continue
        imported = [part for part in ast.parse(path.read_text()).body if not is_program(part)]
        for node in (node for part in imported for node in ast.walk(part)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "exit", "sys.exit", "os._exit"), f"{path}:{node.lineno} calls {called}"


def test_only_emit_imports_jinja() -> None:
    users = [path.name for path in sorted((ROOT / "tinygen").rglob("*.py")) if "import jinja2" in path.read_text()]
    assert users == ["emit.py"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return next(folder.glob("*.whl"))


def test_wheel_carries_the_folders_that_people_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder in ("templates", "firmware", "boards", "front_ends", "examples"):
        tracked = subprocess.run(
            ["git", "ls-files", folder], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.split()
        assert tracked
        missing = [path for path in tracked if f"tinygen/_data/{path}" not in names]
        assert not missing


def test_wheel_builds_the_example_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, system_site_packages=False)
    site = next((home / "lib").glob("python*/site-packages"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # The dependencies of this environment, but not its checkout of tinygen.
    here = Path(sys.prefix) / "lib" / site.parent.name / "site-packages"
    (site / "dependencies.pth").write_text(f"{here}\n")
    work = tmp_path / "work"
    work.mkdir()
    script = (
        "import pathlib, tinygen; from tinygen.resources import resource;"
        "assert '_data' in str(resource('boards')), resource('boards');"
        "m = tinygen.read(resource('examples', 'digits', 'digits.tflite'));"
        "tinygen.write(tinygen.build(m, 'netduino2plus').files, pathlib.Path('out'))"
    )
    done = subprocess.run(
        [home / "bin" / "python", "-P", "-c", script], cwd=work, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (work / "out" / "manifest.json").is_file()


def test_declared_version_is_the_installed_one() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert tinygen.__version__ == declared
