"""The generated C as a product: strict compilers, what it leaves in memory, golden text, and names made to break it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from building import BOARD, DIGITS, Built, assert_exact, build_bytes, build_file, differences, host, varied
from emulated_bench import Bench
from tflite_builder import build_case, build_model

from tinygen import elf
from tinygen.host import host_peer
from tinygen.ops import conv_2d, fully_connected, lstm, svdf, transpose_conv
from tinygen.ops.case import Case, CaseTensor

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
HEADER_STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only")
STANDARDS = ("c99", "c11")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build_file(DIGITS / "digits.tflite", tmp_path_factory.mktemp("digits") / "out")


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=cwd)
    assert done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}"
    return done.stdout


def compile_object(built: Built, folder: Path, compiler: str, flags: Sequence[str]) -> Path:
    target = folder / "library.o"
    source = built.board_source if compiler.startswith("arm-") else built.source
    run(compiler, *flags, "-c", source, "-o", target)
    return target


def target_flags(built: Built) -> list[str]:
    return [flag for flag in built.manifest.cflags if not flag.startswith("-std")]


# --- compilers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("standard", STANDARDS)
@pytest.mark.parametrize("optimisation", ["-O0", "-O2"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_host_compilers_have_nothing_to_say(
    compiler: str, optimisation: str, standard: str, digits: Built, tmp_path: Path
) -> None:
    compile_object(digits, tmp_path, compiler, [f"-std={standard}", optimisation, *STRICT])


@pytest.mark.parametrize("standard", STANDARDS)
@pytest.mark.parametrize("objective", ["balanced", "speed", "size"])
def test_the_boards_compiler_has_nothing_to_say(objective: str, standard: str, tmp_path: Path) -> None:
    built = build_file(DIGITS / "digits.tflite", tmp_path / "out", objective=objective)
    flags = [f"-std={standard}", *target_flags(built), *STRICT]
    compile_object(built, tmp_path, "arm-none-eabi-gcc", flags)
    assert any(flag.startswith("-mcpu=") for flag in flags)


@pytest.mark.parametrize("flags", [["-mcpu=cortex-m0"], ["-mcpu=cortex-m4"]])
def test_a_compiler_for_another_core_is_told_which_flags_it_takes(flags: list[str], digits: Built) -> None:
    kernels = str(digits.board_source).removesuffix(".c") + "_kernels.S"
    command = ["arm-none-eabi-gcc", *flags, "-mthumb", "-c", kernels, "-o", os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wanted = " ".join(flag for flag in target_flags(digits) if flag.startswith("-m"))
    assert "-mfpu=" in wanted and done.returncode != 0
    (error,) = [line for line in done.stderr.splitlines() if "error: #error" in line]
    assert wanted in error


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [("gcc", ("-Os",)), ("gcc", ("-O3", "-flto")), ("clang", ("-Os",)), ("clang", ("-O3",))],
)
def test_however_it_is_optimised_it_gives_the_references_bytes(
    compiler: str, flags: tuple[str, ...], digits: Built
) -> None:
    """On this machine, in the board's place; benchmarks/compilers.py has other compilers."""
    optimised = host_peer(digits.out, digits.manifest, compiler, (*flags, "-fno-sanitize=all", *STRICT))
    assert differences(digits, varied(digits, 4), optimised) == []


@pytest.mark.parametrize("optimisation", ["-Os", "-O3"])
def test_kernels_in_assembly_survive_link_time_optimisation(optimisation: str, digits: Built, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    emulated = Bench(BOARD, tmp_path / "bench", (optimisation, "-flto", *STRICT))
    assert differences(digits, varied(digits, 4), emulated.running(digits)) == []
    image = elf.read(emulated.image)
    own = kernels_in_assembly(digits, tmp_path)
    assert own
    assert own | {layer.symbol for layer in digits.manifest.layers} <= {
        symbol.name for symbol in image.symbols if symbol.kind == "function"
    }


@pytest.mark.parametrize(
    ("compiler", "language", "standard"),
    [
        ("gcc", "c", "c99"),
        ("clang", "c", "c99"),
        ("arm-none-eabi-gcc", "c", "c99"),
        ("g++", "c++", "c++17"),
        ("clang++", "c++", "c++17"),
        ("g++", "c++", "c++11"),
    ],
)
def test_the_header_stands_alone(compiler: str, language: str, standard: str, digits: Built, tmp_path: Path) -> None:
    name = digits.manifest.name
    symbols = sorted({port.symbol for port in (*digits.manifest.inputs, *digits.manifest.outputs)})
    uses = "".join(f"    (void){symbol}();\n" for symbol in symbols)
    user = tmp_path / "user.c"
    include = f'#include "{name}.h"\n'
    # The first and only include: what the header needs, it includes. Twice: it guards itself.
    user.write_text(f"{include}{include}void use(void);\nvoid use(void)\n{{\n{uses}    {name}_invoke();\n}}\n")
    run(compiler, "-x", language, f"-std={standard}", *HEADER_STRICT, f"-I{digits.library}", user)


# --- what it leaves in memory ----------------------------------------------------------------------------------------


def symbols_of(built: Built, tool: str, target: Path) -> dict[str, set[str]]:
    """Names by nm's letter."""
    found: dict[str, set[str]] = {}
    for line in run(tool, target).splitlines():
        *_, letter, name = line.split()
        found.setdefault(letter, set()).add(name)
    return found


def public_api(built: Built) -> set[str]:
    name = built.manifest.name
    ports = {port.symbol for port in (*built.manifest.inputs, *built.manifest.outputs)}
    return {*ports, built.manifest.invoke, f"{name}_run_layer", f"{name}_layer_output"}


def library_object(built: Built, folder: Path) -> Path:
    return compile_object(built, folder, "arm-none-eabi-gcc", ["-std=c99", *target_flags(built)])


def test_only_the_public_api_is_global(digits: Built, tmp_path: Path) -> None:
    found = symbols_of(digits, "arm-none-eabi-nm", library_object(digits, tmp_path))
    everything_global = {name for letter, names in found.items() if letter.isupper() for name in names}
    own = kernels_in_assembly(digits, tmp_path)
    assert own
    assert found["U"] == own  # others would be calls to somebody else: malloc, libm
    assert everything_global == public_api(digits) | own


def kernels_in_assembly(built: Built, folder: Path) -> set[str]:
    """The functions that the library's assembly defines, for nobody outside of the library; it calls no others."""
    target = folder / "kernels.o"
    source = built.board_library / f"{built.manifest.name}_kernels.S"
    run("arm-none-eabi-gcc", *target_flags(built), "-c", source, "-o", target)
    found = symbols_of(built, "arm-none-eabi-nm", target)
    assert found.keys() <= {"T", "t"}
    hidden = run("arm-none-eabi-readelf", "-W", "-s", target)
    assert all(re.search(rf"GLOBAL HIDDEN .* {name}$", hidden, re.MULTILINE) for name in found["T"])
    assert all(name.startswith(f"{built.manifest.name}_") for name in found["T"])
    return found["T"]


def test_every_layer_keeps_a_symbol_to_profile(digits: Built, tmp_path: Path) -> None:
    found = symbols_of(digits, "arm-none-eabi-nm", library_object(digits, tmp_path))
    assert {layer.symbol for layer in digits.manifest.layers} <= found["t"]


def test_float_models_call_nobody_either(tmp_path: Path) -> None:
    x, y = CaseTensor((1, 4), "float32"), CaseTensor((1, 4), scale=0.1, zero_point=3)
    data = build_model([x, y, x], [("QUANTIZE", [0], [1], {}), ("DEQUANTIZE", [1], [2], {})], [0], [2])
    built = build_bytes(data, tmp_path)
    found = symbols_of(built, "arm-none-eabi-nm", library_object(built, tmp_path))
    assert found.get("U", set()) == set()


def test_the_arena_is_the_only_writable_data(digits: Built, tmp_path: Path) -> None:
    target = library_object(digits, tmp_path)
    sections = {
        match[1]: int(match[2])
        for match in re.finditer(r"^(\.\S+)\s+(\d+)\s+\d+$", run("arm-none-eabi-size", "-A", target), re.MULTILINE)
    }
    writable = {name: size for name, size in sections.items() if size and re.match(r"\.(data|bss|tbss|tdata)", name)}
    assert writable == {".bss": digits.manifest.arena_bytes}
    found = symbols_of(digits, "arm-none-eabi-nm", target)
    assert found["b"] == {"arena"}
    assert not found.keys() & {"d", "D", "C", "B"}


def test_constants_take_what_the_manifest_says(digits: Built, tmp_path: Path) -> None:
    # Unrolled, a short loop may have an array's values as literals: unoptimised, all arrays are there.
    flags = ["-std=c99", *target_flags(digits), "-O0"]
    unoptimised = compile_object(digits, tmp_path, "arm-none-eabi-gcc", flags)
    lines = run("arm-none-eabi-nm", "-S", unoptimised).splitlines()
    sizes = [int(fields[1], 16) for fields in map(str.split, lines) if len(fields) == 4 and fields[2] == "r"]
    assert sum(sizes) == digits.manifest.const_bytes


def test_layers_share_the_tables_of_helpers(tmp_path: Path) -> None:
    unit = CaseTensor((1, 40), "int16", scale=1 / 32768)
    data = build_model([unit] * 3, [("LOGISTIC", [0], [1], {}), ("TANH", [1], [2], {})], [0], [2])
    built = build_bytes(data, tmp_path)
    constants = (built.library / f"{built.manifest.name}_constants.inc").read_text()
    assert constants.count("[256] = {") == 1
    assert built.manifest.const_bytes == 512
    assert differences(built, varied(built, 4), host(built)) == []


def test_the_only_headers_are_the_models_own_and_stdint(digits: Built) -> None:
    texts = [path.read_text() for path in sorted(digits.library.iterdir())]
    included = {name for text in texts for name in re.findall(r"#\s*include\s*(\S+)", text)}
    assert included == {'"digits.h"', '"digits_constants.inc"', "<stdint.h>"}


# --- the same bytes, everywhere --------------------------------------------------------------------------------------

BUILD = """
import sys
from pathlib import Path
from tinygen import output, pipeline
model = pipeline.read(Path(sys.argv[1]))
output.write(pipeline.build(model, sys.argv[2]).files, Path(sys.argv[3]))
"""


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def build_elsewhere(folder: Path, hash_seed: str, zone: str, locale: str) -> dict[str, bytes]:
    """Built by another process, in another folder, from a copy at another path."""
    (folder / "in").mkdir(parents=True)
    copy = folder / "in" / "digits.tflite"
    copy.write_bytes((DIGITS / "digits.tflite").read_bytes())
    environment = {"PYTHONHASHSEED": hash_seed, "TZ": zone, "LC_ALL": locale, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, copy, BOARD, folder / "out"],
        env=os.environ | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return tree(folder / "out")


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    first = build_elsewhere(tmp_path / "a", "1", "Asia/Kathmandu", "C")
    second = build_elsewhere(tmp_path / "deep" / "er" / "b", "77", "America/Caracas", "C.UTF-8")
    assert first.keys() == second.keys()
    assert [path for path in first if first[path] != second[path]] == []


def test_no_paths_dates_or_user_names_are_left_behind(tmp_path: Path) -> None:
    for path, data in build_elsewhere(tmp_path, "0", "UTC", "C").items():
        if path.startswith("model/"):
            continue  # the user's own bytes
        for secret in (str(tmp_path), str(ROOT), str(Path.home()) + "/", sys.prefix):
            assert secret.encode() not in data, (path, secret)
        assert not re.search(rb"\b20[2-9]\d-[01]\d-[0-3]\d|\b[0-2]\d:[0-5]\d:[0-5]\d\b|__DATE__|__TIME__", data), path


# --- golden text -----------------------------------------------------------------------------------------------------

GOLDEN = Path(__file__).parent / "golden"
GOLDENS: dict[str, Case] = {
    "conv_2d.direct": next(case for case in conv_2d.cases() if case.name == "same_odd_total"),
    "fully_connected.direct": next(case for case in fully_connected.cases() if case.name == "plain"),
    "lstm.direct": next(case for case in lstm.cases() if case.name == "plain"),
    "svdf.direct": next(case for case in svdf.cases() if case.name == "rank_2"),
    "transpose_conv.direct": next(case for case in transpose_conv.cases() if case.name == "int16"),
}


@pytest.mark.parametrize("kernel", GOLDENS)
def test_golden_text(kernel: str, tmp_path: Path) -> None:
    """The text as it was last looked at. To look again after a change of a template, and accept it:

    TINYGEN_UPDATE_GOLDEN=1 pytest tests/test_generated_c.py -k golden && git diff tests/golden
    """
    built = build_bytes(build_case(GOLDENS[kernel]), tmp_path, kernel=kernel)
    assert [layer.kernel for layer in built.manifest.layers] == [kernel]
    # The hash of a file that the installed flatbuffers library laid out is not the template's doing.
    text = built.source.read_text().replace(built.model.sha256, "<sha256 of the model>")
    golden = GOLDEN / f"{kernel}.c"
    if os.environ.get("TINYGEN_UPDATE_GOLDEN") == "1":
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


def test_every_golden_text_is_compared() -> None:
    assert {path.stem for path in GOLDEN.glob("*.c")} == set(GOLDENS)


# --- names made to break C -------------------------------------------------------------------------------------------

NAMES = {
    "comment end": "a */ int x; /* b",
    "comment start": "/* // /*/",
    "line ends": "one\ntwo\r\n#error three\x0bfour\x0cfive",
    "line continuation": "backslash \\\n at the end \\",
    "trigraphs": "what ??/\n??) ??=define x",
    "quotes": "\"'`${x}$(y)%s%n{{ 7 * 7 }}{% raw %}",
    "unicode": "größe/日本語/\u202egnp.exe/\U0001f4a5\u2028\x85",
    "control": "bell\x07 escape\x1b[31m delete\x7f nul-free",
    "long": "long/" * 1000,
    "empty": "",
    "semicolons": ";;;",
    "keyword": "int",
}


def named_model(names: Sequence[str]) -> bytes:
    """A convolution, a view and a fully connected layer, whose tensors have these names in turn."""
    (case,) = (case for case in conv_2d.cases() if case.name == "pointwise")
    x, weights, bias = case.inputs
    (y,) = case.outputs
    assert x is not None and weights is not None and bias is not None
    flat = CaseTensor((1, 100), scale=y.scale, zero_point=y.zero_point)
    (dense,) = (case for case in fully_connected.cases() if case.name == "no_bias")
    small = CaseTensor((8, 100), scale=0.01, data=(weights.data.reshape(-1)[:32].repeat(25).reshape(8, 100)))
    return build_model(
        [x, weights, bias, y, flat, small, CaseTensor((1, 8), scale=20.0)],
        [
            (case.op, [0, 1, 2], [3], case.options),
            ("RESHAPE", [3], [4], {"new_shape": (1, 100)}),
            (dense.op, [4, 5], [6], dense.options),
        ],
        [0],
        [6],
        names=[names[index % len(names)] for index in range(7)],
    )


@pytest.mark.parametrize("kind", NAMES)
def test_hostile_tensor_names_stay_harmless(kind: str, tmp_path: Path) -> None:
    built = build_bytes(named_model([NAMES[kind]]), tmp_path)  # all tensors have that name
    assert_exact(built, varied(built, 3))
    compile_object(built, tmp_path, "gcc", ["-std=c99", "-Wtrigraphs", *STRICT])
    for path in sorted(built.library.iterdir()):
        text = path.read_bytes()
        assert text.isascii(), path
        assert not re.search(rb"[^\n -~]", text), path
        assert max(map(len, text.splitlines())) <= 1000, path


def test_hostile_names_differ_from_harmless_ones_in_comments_only(tmp_path: Path) -> None:
    hostile = build_bytes(named_model(list(NAMES.values())), tmp_path / "hostile")
    harmless = build_bytes(named_model(["x", "y", "z"]), tmp_path / "harmless")
    objects = [
        compile_object(built, built.out, "arm-none-eabi-gcc", ["-std=c99", *target_flags(built)]).read_bytes()
        for built in (hostile, harmless)
    ]
    assert objects[0] == objects[1]


FILES = {
    "shell": "x y'; rm -rf $HOME; `id` & \".tflite",
    "option": "-o --help.tflite",
    "keyword": "int.tflite",
    "header": "string.tflite",
    "own header": "model.tflite",
    "digits only": "123.tflite",
    "unicode": "ünïcode-日本.tflite",
    "no letters": "日本.tflite",
    "dots": "...tflite.tflite",
    "comment": "a*.tflite",
    "line end": "a\n#error b\\\n.tflite",
    "long": "l" * 200 + ".tflite",
    "upper case": "KWS.TFLITE",
    "underscores": "__init__.tflite",
    "jinja": "{{ 7 * 7 }}{% raw %}.tflite",
    "not text": "\udcff\udcfe.tflite",
}


@pytest.mark.parametrize("kind", FILES)
def test_hostile_file_names_stay_harmless(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    path = folder / FILES[kind]
    path.write_bytes(named_model(["x"]))
    built = build_file(path, tmp_path / "out")
    name = built.manifest.name
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name) and "__" not in name
    for file in built.manifest.files:
        assert re.fullmatch(r"[A-Za-z0-9_./-]+", file) and ".." not in file, file
    assert set(tree(built.out)) == {*built.manifest.files, "manifest.json"}
    assert list(folder.iterdir()) == [path]
    assert differences(built, varied(built, 3), host(built)) == []
    compile_object(built, tmp_path, "gcc", ["-std=c99", *STRICT])
    assert all(re.fullmatch(rb"[\n -~]*", file.read_bytes()) for file in built.library.iterdir())


def test_a_file_name_that_walks_upwards_stays_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    wicked = "x y'; rm -rf.tflite"
    (tmp_path / wicked).write_bytes(named_model(["x"]))
    monkeypatch.chdir(here)
    built = build_file(Path("../..") / wicked, Path("out"))
    assert set(tree(here / "out")) == {*built.manifest.files, "manifest.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"a", wicked}
    assert not any(b".." in path.read_bytes() for path in built.library.iterdir() if path.suffix != ".inc")
