"""Packages: each is taken by its ecosystem's own tool, or by its rules, compiled, and answers as the reference does."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import wave
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kconfiglib
import numpy as np
import pytest
import yaml
from building import DIGITS
from platformio.package.manifest.parser import ManifestParserFactory
from platformio.package.manifest.schema import ManifestSchema
from test_listening import decoded, hearing_for, recurrent_model, window_model

from tinygen import board as boards
from tinygen import firmware, manifest, output, pipeline, reference, samples, verify
from tinygen.errors import InputError
from tinygen.export.archive import zipped
from tinygen.export.facts import Facts, name_of
from tinygen.export.kinds import KINDS
from tinygen.export.package import package_files
from tinygen.interface import EXTERNAL, ROWS, Interface

Files = Mapping[str, bytes]

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
AS_EXPECTED = "As expected, in every bit."

ARDUINO_H = """\
#pragma once
#include <stddef.h>
#include <stdint.h>
struct StandIn {
    void begin(long) {}
    explicit operator bool() const { return true; }
    void print(const char *text);
    void print(int value);
    void println(long value);
    void println(double value, int digits);
    void println(const char *text);
};
extern StandIn Serial;
unsigned long millis();
void setup();
void loop();
"""
ARDUINO_CPP = """\
#include "Arduino.h"
#include <stdio.h>
StandIn Serial;
void StandIn::print(const char *text) { fputs(text, stdout); }
void StandIn::print(int value) { printf("%d", value); }
void StandIn::println(long value) { printf("%ld\\n", value); }
void StandIn::println(double value, int digits) { printf("%.*f\\n", digits, value); }
void StandIn::println(const char *text) { puts(text); }
unsigned long millis() { return 0; }
int main() { setup(); loop(); return 0; }
"""


def built(out: Path, data: Sequence[tuple[str, bytes]], **choices: Any) -> Path:
    models = [pipeline.decode(content, f"{name}.tflite") for name, content in data]
    output.write(pipeline.build_together(models, "qemu-mps2-an386", **choices)[0].files, out)
    return out


def packed(out: Path, kind: str, **choices: Any) -> Files:
    models = manifest.load_all(out)
    return package_files(out, models, kind, Facts(name_of(models)), **choices)


def unpacked(files: Files, folder: Path) -> Path:
    """As a user unpacks the zip: one folder in it, which is the package."""
    with zipfile.ZipFile(io.BytesIO(zipped(files, "package"))) as archive:
        archive.extractall(folder)
    assert [path.name for path in folder.iterdir()] == ["package"]
    return folder / "package"


def said(command: Sequence[object], **options: Any) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("export") / "out", [("digits", (DIGITS / "digits.tflite").read_bytes())])


@pytest.fixture(scope="module")
def packages(digits: Path) -> Mapping[str, Files]:
    return {kind: packed(digits, kind, sample=DIGITS / "digits_test.npz") for kind in KINDS}


def outputs(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"element \d+: (\S+)", text)]


def the_answer() -> list[float]:
    """The first held-out image is recognised: by its class, the example has computed what it was given."""
    return [int(np.load(DIGITS / "digits_test.npz")["labels"][0])]


@pytest.mark.parametrize("kind", KINDS)
def test_what_all_packages_have(packages: Mapping[str, Files], digits: Path, kind: str) -> None:
    files = packages[kind]
    assert list(files) == sorted(files)
    assert {"README.md", "LICENSE", "MODEL_LICENSE.txt", "manifest.json", "src/digits.h", "src/digits.c"} <= set(files)
    assert b"Apache License" in files["LICENSE"]
    (before,) = manifest.load_all(digits)
    assert before.model.sha256 in files["MODEL_LICENSE.txt"].decode()
    for path, data in files.items():
        text = data.decode()
        assert "{{" not in text and "{%" not in text and "%%" not in text and "\t" not in text.replace("\n\t", "\n")
        assert text.endswith("\n") and not text.endswith("\n\n"), path
    listed = json.loads(files["manifest.json"])
    assert listed["files"] == {
        path: hashlib.sha256(data).hexdigest() for path, data in files.items() if path != "manifest.json"
    }
    assert listed["layers"] == json.loads((digits / "manifest.json").read_text())["layers"]
    assert set(listed["sources"]) == {path for path in files if path.startswith("src/") and path.endswith((".c", ".S"))}


def test_a_zip_is_the_same_bytes_each_time(packages: Mapping[str, Files], digits: Path) -> None:
    files = packages["arduino"]
    again = packed(digits, "arduino", sample=DIGITS / "digits_test.npz")
    assert zipped(files, "digits") == zipped(dict(reversed(again.items())), "digits")
    with zipfile.ZipFile(io.BytesIO(zipped(files, "digits"))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"digits/{path}" for path in sorted(files)]
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_plain_runs_with_make(packages: Mapping[str, Files], tmp_path: Path) -> None:
    folder = unpacked(packages["plain"], tmp_path)
    text = said(["make", "-s", "-C", folder / "example", "run", f"CFLAGS=-std=c99 {' '.join(WARNINGS)}"])
    assert AS_EXPECTED in text
    assert [int(np.argmax(outputs(text)))] == the_answer()


def test_an_example_tells_when_an_answer_differs(packages: Mapping[str, Files], tmp_path: Path) -> None:
    folder = unpacked(packages["plain"], tmp_path)
    sample = folder / "example" / "sample.h"
    before, after = re.split(r"(?<=answer_0_of_digits\[10\] = \{\n    )", sample.read_text())
    sample.write_text(before + re.sub(r"^-?\d+", lambda number: str(int(number[0]) ^ 1), after))
    ran = subprocess.run(["make", "-s", "-C", folder / "example", "run"], capture_output=True, text=True, check=False)
    assert ran.returncode != 0 and "NOT as expected" in ran.stdout


def test_cmake_installs_and_is_found(packages: Mapping[str, Files], tmp_path: Path) -> None:
    folder = unpacked(packages["cmake"], tmp_path / "a b")
    prefix, build, example = (tmp_path / name for name in ("prefix", "build", "example"))
    said(["cmake", "-S", folder, "-B", build, f"-DCMAKE_C_FLAGS={' '.join(WARNINGS)}"])
    said(["cmake", "--build", build])
    said(["cmake", "--install", build, "--prefix", prefix])
    shutil.move(folder / "example", tmp_path / "user")
    shutil.rmtree(folder)
    said(["cmake", "-S", tmp_path / "user", "-B", example, f"-DCMAKE_PREFIX_PATH={prefix}"])
    said(["cmake", "--build", example])
    text = said([example / "run_sample"])
    assert AS_EXPECTED in text and [int(np.argmax(outputs(text)))] == the_answer()
    assert sorted(path.name for path in (prefix / "share" / "digits").iterdir()) == [
        "LICENSE",
        "MODEL_LICENSE.txt",
        "manifest.json",
    ]


STAND_INS = {
    "esp-idf": """
function(idf_component_register)
  cmake_parse_arguments(given "" "" "SRCS;INCLUDE_DIRS;PRIV_REQUIRES" ${ARGN})
  get_filename_component(name "${CMAKE_CURRENT_LIST_DIR}" NAME)
  add_library(${name} STATIC ${given_SRCS})
  target_include_directories(${name} PUBLIC ${given_INCLUDE_DIRS})
  target_link_libraries(${name} PUBLIC ${given_PRIV_REQUIRES})
  set(COMPONENT_LIB ${name} PARENT_SCOPE)
endfunction()
add_subdirectory(package)
add_subdirectory(package/examples/run_sample/main)
file(WRITE ${CMAKE_BINARY_DIR}/start.c "void app_main(void); int main(void) { app_main(); return 0; }\\n")
add_executable(app ${CMAKE_BINARY_DIR}/start.c)
target_link_libraries(app PRIVATE main package)
""",
    "zephyr": """
set(CONFIG_DIGITS_LIBRARY y)
function(zephyr_include_directories)
  foreach(folder ${ARGN})
    include_directories(${CMAKE_CURRENT_LIST_DIR}/${folder})
    target_include_directories(app PRIVATE ${CMAKE_CURRENT_LIST_DIR}/${folder})
  endforeach()
endfunction()
function(zephyr_library_named name)
  add_library(${name} STATIC)
  set(ZEPHYR_CURRENT_LIBRARY ${name} PARENT_SCOPE)
endfunction()
function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
function(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})
endfunction()
add_executable(app package/samples/run_sample/src/main.c)
add_subdirectory(package)
target_link_libraries(app PRIVATE digits_library)
""",
}


@pytest.mark.parametrize("kind", STAND_INS)
def test_cmake_of_other_ecosystems_with_stand_ins_for_their_functions(
    packages: Mapping[str, Files], tmp_path: Path, kind: str
) -> None:
    unpacked(packages[kind], tmp_path)
    lists = "cmake_minimum_required(VERSION 3.20)\nproject(standing_in C ASM)\n" + STAND_INS[kind]
    (tmp_path / "CMakeLists.txt").write_text(lists)
    said(["cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_C_FLAGS={' '.join(WARNINGS)}"])
    said(["cmake", "--build", tmp_path / "build"])
    assert AS_EXPECTED in said([tmp_path / "build" / "app"])


def test_zephyr_finds_the_module_and_its_option(packages: Mapping[str, Files], tmp_path: Path) -> None:
    folder = unpacked(packages["zephyr"], tmp_path)
    module = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())
    assert module["name"] == "digits"
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    options = kconfiglib.Kconfig(str(folder / module["build"]["kconfig"]))
    assert not options.warnings and options.syms["DIGITS_LIBRARY"].type == kconfiglib.BOOL
    options.load_config(str(folder / "samples" / "run_sample" / "prj.conf"))
    assert options.syms["DIGITS_LIBRARY"].str_value == "y" and not options.warnings
    sample = yaml.safe_load((folder / "samples" / "run_sample" / "sample.yaml").read_text())
    assert sample["tests"]["sample.digits"]["harness_config"]["regex"] == [AS_EXPECTED]


def test_esp_idf_reads_the_component(packages: Mapping[str, Files]) -> None:
    component = yaml.safe_load(packages["esp-idf"]["idf_component.yml"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", component["version"]) and component["license"] == "Apache-2.0"
    assert component["dependencies"].keys() == {"idf"}
    for example in component["examples"]:
        assert f"{example['path'].removeprefix('./')}/CMakeLists.txt" in packages["esp-idf"]


def test_platformio_takes_the_manifest(
    packages: Mapping[str, Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The list of licences is all that it downloads.
    known = {"licenses": [{"licenseId": "Apache-2.0"}]}
    monkeypatch.setattr(ManifestSchema, "load_spdx_licenses", staticmethod(lambda: known))
    folder = unpacked(packages["platformio"], tmp_path)
    parsed = ManifestParserFactory.new_from_dir(str(folder)).as_dict()
    checked = ManifestSchema().load_manifest(parsed)
    assert (checked["name"], checked["version"], checked["license"]) == ("digits", "1.0.0", "Apache-2.0")
    assert checked["headers"] == ["digits.h"]
    for example in checked["examples"]:
        assert all((folder / example["base"] / name).is_file() for name in example["files"])


def test_platformio_builds_the_package_for_a_board(packages: Mapping[str, Files], digits: Path, tmp_path: Path) -> None:
    # The package in the place of the library that was built: the board answers with the same bytes.
    project = tmp_path / "project"
    shutil.copytree(digits, project)
    shutil.rmtree(project / "lib" / "digits")
    for path, data in packages["platformio"].items():
        (project / "lib" / "digits" / path).parent.mkdir(parents=True, exist_ok=True)
        (project / "lib" / "digits" / path).write_bytes(data)
    (content,) = manifest.load_all(digits)
    (sample, *_) = samples.from_file(DIGITS / "digits_test.npz", content.inputs)
    graph = verify.model_of(digits, content).graph
    with boards.flashed(project, content) as peer:
        answer, _ = peer.invoke(sample.bytes)
    assert answer == [array.tobytes() for array in reference.outputs(graph, sample.arrays)]
    symbols = said(["arm-none-eabi-nm", firmware.firmware_path(project)])
    assert "digits_conv_2d_patches" in symbols, "the assembly was taken"


def test_arduino_follows_the_library_specification(packages: Mapping[str, Files], tmp_path: Path) -> None:
    # https://arduino.github.io/arduino-cli/latest/library-specification/
    folder = unpacked(packages["arduino"], tmp_path)
    lines = (folder / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    assert len(fields) == len(lines)
    required = ("name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures")
    assert all(fields[field].strip() == fields[field] != "" for field in required)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", fields["name"])
    assert not fields["name"].lower().startswith("arduino")
    assert re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", fields["version"])
    assert fields["category"] == "Data Processing"  # one of the list in the specification
    assert fields["sentence"] not in fields["paragraph"]
    assert all((folder / "src" / header).is_file() for header in fields["includes"].split(","))
    assert not (folder / "utility").exists() and not any(folder.glob("*.c"))  # not both layouts
    for sketch in folder.glob("examples/*"):
        assert (sketch / f"{sketch.name}.ino").is_file()
    for path in folder.rglob("*"):
        assert not path.is_symlink() and path.suffix not in (".exe", ".a", ".o")
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", path.name), path


def sketch(folder: Path, work: Path) -> Path:
    """The sketch as Arduino makes a C++ file of it, beside the stand-in for the core's library."""
    (ino,) = folder.glob("examples/*/*.ino")
    (work / "Arduino.h").write_text(ARDUINO_H)
    (work / "Arduino.cpp").write_text(ARDUINO_CPP)
    (work / "sample.h").write_text((ino.parent / "sample.h").read_text())
    (work / "sketch.cpp").write_text("#include <Arduino.h>\n#line 1\n" + ino.read_text())
    return work


def objects(prefix: str, flags: Sequence[str], folder: Path, work: Path) -> list[Path]:
    """Everything that Arduino compiles of a library and a sketch, compiled."""
    made = []
    sources = [*(folder / "src").rglob("*.c"), *(folder / "src").rglob("*.S"), *work.glob("*.cpp")]
    for source in sorted(sources):
        made.append(work / f"{source.name}.o")
        compiler = prefix + ("g++" if source.suffix == ".cpp" else "gcc")
        includes = [f"-I{folder / 'src'}", f"-I{work}"]
        said([compiler, *flags, "-Os", *includes, "-c", source, "-o", made[-1]])
    return made


def test_the_sketch_runs(packages: Mapping[str, Files], tmp_path: Path) -> None:
    folder = unpacked(packages["arduino"], tmp_path / "library")
    work = sketch(folder, tmp_path)
    said(["g++", *objects("", WARNINGS, folder, work), "-o", work / "sketch"])
    text = said([work / "sketch"])
    assert AS_EXPECTED in text and [int(np.argmax(outputs(text)))] == the_answer()


# A vector table, and the FPU, are all that newlib's own start-up, which talks to the emulator, lacks.
RESET = """\
extern void _start(void);
static void reset(void)
{
#ifdef __ARM_FP
    *(volatile unsigned *)0xE000ED88u |= 0xFu << 20;
    __asm volatile("dsb; isb");
#endif
    _start();
}
__attribute__((section(".vectors"), used)) static void *const vectors[] = {(void *)0x20400000, (void *)reset};
"""
ADDRESSES = ["--section-start=.vectors=0", "-Tdata=0x20000000", "--no-warnings"]
CORES = {
    "cortex-m0plus": ("mps2-an385", "portable"),
    "cortex-m3": ("mps2-an385", "portable"),
    "cortex-m4": ("mps2-an386", "portable"),
    "cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16": ("mps2-an386", "assembly"),
    "cortex-m7 -mfloat-abi=softfp -mfpu=fpv5-d16": ("mps2-an500", "assembly"),
    "cortex-m33 -mfloat-abi=hard -mfpu=fpv5-sp-d16": (None, "assembly"),
}


@pytest.mark.parametrize("core", CORES)
def test_every_arm_core_takes_the_code_that_it_can_execute(
    packages: Mapping[str, Files], tmp_path: Path, core: str
) -> None:
    machine, takes = CORES[core]
    folder = unpacked(packages["arduino"], tmp_path / "library")
    work = sketch(folder, tmp_path)
    (work / "reset.c").write_text(RESET)
    flags = [*f"-mcpu={core}".split(), "-mthumb", "-Wall", "-Wextra", "-Werror"]
    made = objects("arm-none-eabi-", flags, folder, work)
    linked = ["--specs=rdimon.specs", *(f"-Wl,{address}" for address in ADDRESSES)]
    elf = work / "sketch.elf"
    said(["arm-none-eabi-gcc", *flags, *linked, work / "reset.c", *made, "-o", elf])
    assert ("digits_conv_2d_patches" in said(["arm-none-eabi-nm", elf])) == (takes == "assembly")
    if machine is not None:
        emulator = ["qemu-system-arm", "-M", machine, "-display", "none", "-monitor", "none", "-serial", "none"]
        text = said([*emulator, "-semihosting", "-kernel", elf], timeout=300)
        assert AS_EXPECTED in text and [int(np.argmax(outputs(text)))] == the_answer()


def test_libraries_for_any_core_are_not_there_twice(tmp_path: Path) -> None:
    model = pipeline.read(DIGITS / "digits.tflite")
    output.write(pipeline.build(model, "stm32vldiscovery").files, tmp_path)
    files = packed(tmp_path, "arduino")
    assert [path for path in files if path.endswith(".c")] == ["src/digits.c"]
    assert files["src/digits.c"] == (tmp_path / "lib" / "digits" / "src" / "digits.c").read_bytes()


INTERFACES = {
    "all of the application's": Interface(arena=EXTERNAL, input=EXTERNAL, output=EXTERNAL),
    "row by row": Interface(input=ROWS),
}


@pytest.mark.parametrize("which", [*INTERFACES, "two models", "with memory", "with a front end"])
def test_examples_talk_to_libraries_however_they_were_built(tmp_path: Path, which: str) -> None:
    if which == "two models":
        out = built(tmp_path / "out", [("one", window_model()), ("two", recurrent_model())])
    elif which == "with memory":
        out = built(tmp_path / "out", [("recalls", recurrent_model())])
    elif which == "with a front end":
        hearing = hearing_for(decoded(window_model()), tmp_path)
        out = built(tmp_path / "out", [("hears", window_model())], hearing=hearing)
    else:
        out = built(tmp_path / "out", [("sees", window_model())], interface=INTERFACES[which])
    folder = unpacked(packed(out, "plain"), tmp_path / "package")
    flags = f"CFLAGS=-std=c99 -O1 -fsanitize=address,undefined -fno-sanitize-recover=all {' '.join(WARNINGS)}"
    text = said(["make", "-s", "-C", folder / "example", "run", flags])
    assert AS_EXPECTED in text
    if which == "all of the application's":
        assert "[SEES_ARENA_BYTES / 4]" in (folder / "example" / "main.c").read_text()
    assert len(outputs(text)) == sum(int(np.prod(p.shape)) for m in manifest.load_all(out) for p in m.outputs)


def test_a_recording_of_ones_own_is_played(tmp_path: Path) -> None:
    hearing = hearing_for(decoded(window_model()), tmp_path)
    out = built(tmp_path / "out", [("hears", window_model())], hearing=hearing)
    recording = tmp_path / "sound.wav"
    with wave.open(str(recording), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.arange(100, dtype="<i2").tobytes())
    (content,) = manifest.load_all(out)
    assert content.front_end is not None and content.front_end.first < 100
    header = packed(out, "plain", sample=recording)["example/sample.h"].decode()
    assert "sample_0_of_hears[100] = {\n    0, 1, 2, 3," in header
    with pytest.raises(InputError, match="takes recordings"):
        packed(out, "plain", sample=DIGITS / "digits_test.npz")
