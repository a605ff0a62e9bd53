"""The ecosystems that packages are for: which files each wants, and where.

A kind is a table of paths and templates. An Arduino library, say, is sources in src/, a file that describes it, and an
example in a folder of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tinygen.errors import UsageError


@dataclass(frozen=True)
class Kind:
    """A kind of package. Paths may say {name}."""

    title: str
    example: str
    """Path of the example's source."""
    files: Mapping[str, str]
    """Templates by path, besides what all packages have."""
    example_template: str = "export/main.c.j2"
    entry: str = "int main(void)"
    """The function that the platform calls, where the example is C."""

    @property
    def sample(self) -> str:
        """Path of the example's data: beside its source."""
        return f"{self.example.rpartition('/')[0]}/sample.h"


KINDS: Mapping[str, Kind] = {
    "arduino": Kind(
        "Arduino library",
        "examples/run_sample/run_sample.ino",
        example_template="export/arduino/run_sample.ino.j2",
        files={"library.properties": "export/arduino/library.properties.j2"},
    ),
    "platformio": Kind(
        "PlatformIO library",
        "examples/run_sample/src/main.c",
        files={
            "library.json": "export/platformio/library.json.j2",
            "examples/run_sample/platformio.ini": "export/platformio/platformio.ini.j2",
        },
    ),
    "zephyr": Kind(
        "Zephyr module",
        "samples/run_sample/src/main.c",
        files={
            "zephyr/module.yml": "export/zephyr/module.yml.j2",
            "CMakeLists.txt": "export/zephyr/CMakeLists.txt.j2",
            "Kconfig": "export/zephyr/Kconfig.j2",
            "samples/run_sample/CMakeLists.txt": "export/zephyr/sample.cmake.j2",
            "samples/run_sample/prj.conf": "export/zephyr/prj.conf.j2",
            "samples/run_sample/sample.yaml": "export/zephyr/sample.yaml.j2",
        },
    ),
    "esp-idf": Kind(
        "ESP-IDF component",
        "examples/run_sample/main/main.c",
        entry="void app_main(void)",
        files={
            "idf_component.yml": "export/esp_idf/idf_component.yml.j2",
            "CMakeLists.txt": "export/esp_idf/CMakeLists.txt.j2",
            "examples/run_sample/CMakeLists.txt": "export/esp_idf/project.cmake.j2",
            "examples/run_sample/main/CMakeLists.txt": "export/esp_idf/main.cmake.j2",
        },
    ),
    "cmake": Kind(
        "CMake package",
        "example/main.c",
        files={
            "CMakeLists.txt": "export/cmake/CMakeLists.txt.j2",
            "cmake/{name}-config.cmake": "export/cmake/config.cmake.j2",
            "example/CMakeLists.txt": "export/cmake/example.cmake.j2",
        },
    ),
    "plain": Kind(
        "folder of C",
        "example/main.c",
        files={"{name}.mk": "export/plain/library.mk.j2", "example/Makefile": "export/plain/Makefile.j2"},
    ),
}


def kind_of(name: str) -> Kind:
    """Raises UsageError for one that there is not."""
    if name not in KINDS:
        raise UsageError(f"unknown kind of package {name!r}", f"Choose one of {', '.join(KINDS)}.")
    return KINDS[name]
