"""Building and flashing a generated project: PlatformIO, run as a program and never imported.

Everything is read from the project's own files, so it works for any folder that `tinygen build` wrote.
"""

from __future__ import annotations

import configparser
import contextlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import IO, Any

from tinygen import elf, labgrid_place
from tinygen.errors import DoesNotFit, NoAnswer, OutputError, ToolFailed, ToolMissing, UsageError
from tinygen.platformio_storage import check_registry
from tinygen.target import EMULATED_PLATFORM, counts_what_it_runs
from tinygen.usb_ports import Choose, UsbPort, candidates, only_one, plugged_in, returned

# Called with each line that a program prints.
OnLine = Callable[[str], None]

_LAST_LINES = 20
_OFFLINE = "HTTPClientError"
_UPLOADING = "Configuring upload protocol"
_OVERFLOW = re.compile(r"region `(\w+)' overflowed by (\d+) bytes")
_SILENT_SECONDS = 10.0
_RESTART_SECONDS = 10.0
_END_SECONDS = 2.0

_PACKAGES = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "avr-gcc": "gcc-avr avr-libc",
    "qemu-system-riscv32": "qemu-system-misc",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    "simavr": "simavr libsimavr-dev",
    "node": "nodejs",
}


@dataclass(frozen=True)
class FirmwareSize:
    """What a linked firmware occupies, in bytes; the stack is not in it."""

    flash_bytes: int
    ram_bytes: int


@dataclass(frozen=True)
class _Project:
    """A generated project, as its platformio.ini describes it."""

    out: Path
    environment: str
    platform: str
    emulator: Mapping[str, Any] | None  # of an emulated board: its facts, as the board file has them
    baud: int
    runner: str | None  # whose protocol the firmware speaks, where that is not the runner's own
    programs: tuple[str, ...]  # that must be on the PATH
    usb: tuple[str, ...]  # of a real board: devices that its port may belong to
    native_usb: bool  # whether its port goes away with each reset
    resets_on_open: bool  # whether opening its port may restart it
    uploads: bool  # whether it is flashed over that port
    bootloader: str  # what to do where that does not start

    @property
    def emulated(self) -> bool:
        return self.emulator is not None

    @property
    def hint(self) -> str:
        return f"Its boot loader: {self.bootloader}" if self.bootloader else ""

    @property
    def workspace(self) -> Path:
        return self.out / ".pio"

    @property
    def elf(self) -> Path:
        return self.workspace / "build" / self.environment / "firmware.elf"


def build(out: Path, on_line: OnLine | None = None) -> Path:
    """Compile and link the project in `out`; the path of the ELF file.

    Raises ToolMissing when PlatformIO or a compiler is not installed, ToolFailed when the build fails, DoesNotFit when
    the board's memory does not hold it, OutputError when `out` holds no project.
    """
    project = _project(out)
    _run_platformio(project, "build", [], on_line)
    return project.elf


def flash(out: Path, port: str | None = None, on_line: OnLine | None = None, choose: Choose | None = None) -> str:
    """Build the project in `out` and put it on the board, or start the emulator; the serial port to talk to.

    `port` is the real board's; without it, it is found by its USB device, and `choose` asked where there are several.
    Raises like build(), and NoAnswer when it is not clear which serial port the board has, or it does not come back.
    """
    project = _project(out)
    if port is not None and port.startswith(labgrid_place.SCHEME):
        raise UsageError(f"nothing is flashed through {port}", "Flash the board where it is, or with labgrid-client.")
    if project.emulated:
        _run_platformio(project, "flash", ["-t", "upload"], on_line)
        return serial_port(out)
    _check_tools(project)
    check_registry(project.platform)  # before anybody plugs anything in
    ports = plugged_in()
    before = next((each for each in ports if each.device == port), None)
    # Other ports than these may be the board's in its boot loader, or none: PlatformIO knows how to look for it.
    if port is None and (candidates(ports, project.usb) or (project.uploads and not project.native_usb)):
        before = _only_one(project, ports, choose)
    device = port or (before.device if before else None)
    arguments = ["--upload-port", device] if project.uploads and device is not None else []
    _run_platformio(project, "flash", ["-t", "upload", *arguments], on_line)
    if device is not None and (before is None or not project.native_usb):
        return device
    if on_line is not None:
        on_line("waiting for the board's serial port")
    others = [each for each in ports if each != before]
    found = returned(before, others, project.usb, _RESTART_SECONDS)
    return (found or _only_one(project, plugged_in(), choose)).device


def _only_one(project: _Project, ports: Sequence[UsbPort], choose: Choose | None = None) -> UsbPort:
    return only_one(ports, project.environment, project.usb, project.hint, choose)


def stop(out: Path) -> str:
    """End the emulator that flash() started, if any; a sentence that says what was done."""
    project = _project(out)
    if not project.emulated:
        return "Nothing to stop: this project is for a real board."
    return _emulator(project, "stop").stdout.strip()


def serial_port(out: Path) -> str:
    """The serial port of the running emulator, or of the board, found by its USB device.

    Raises NoAnswer when there is none, or more than one.
    """
    project = _project(out)
    if project.emulated:
        found = _emulator(project, "port")
        if found.returncode != 0:
            raise NoAnswer(
                f"{out}: its emulated board does not run", f"Start it: tinygen flash {shlex.quote(str(out))}"
            )
        return found.stdout.strip()
    return only_one(plugged_in(), project.environment, project.usb).device


def current_port(out: Path, port: str | None) -> str:
    """The named port, or where the board has it by now: one with USB of its own may get another name with each reset.

    Raises like serial_port().
    """
    project = _project(out)
    stays = not project.native_usb or port is None or "://" in port
    if port is not None and (stays or any(each.device == port for each in plugged_in())):
        return port
    return serial_port(out)


def is_emulated(out: Path) -> bool:
    """Whether the project's board runs in an emulator. Raises OutputError when `out` holds no project."""
    return _project(out).emulated


def counts_instructions(out: Path) -> bool:
    """Whether the project's board runs in an emulator that counts them. Raises OutputError without a project."""
    emulator = _project(out).emulator
    return emulator is not None and counts_what_it_runs(emulator["program"])


def starts_when_opened(out: Path) -> bool:
    """Whether opening the board's port may restart it. Raises OutputError when `out` holds no project."""
    project = _project(out)
    return project.resets_on_open or project.native_usb


def expect_runner(out: Path) -> None:
    """Raises UsageError where the project's firmware speaks another protocol than the runner's own."""
    runner = _project(out).runner
    if runner is not None:
        raise UsageError(
            f"{out} was built with --runner {runner}: its firmware speaks another protocol",
            f"Build it without --runner {runner}, into a folder of its own: the library is the same.",
        )


def restarts(out: Path) -> bool:
    """Whether the board's serial port goes away with each reset. Raises OutputError when `out` holds no project."""
    return _project(out).native_usb


def baud(out: Path) -> int:
    """The speed of the firmware's serial port in baud. Raises OutputError when `out` holds no project."""
    return _project(out).baud


def firmware_size(out: Path) -> FirmwareSize:
    """Flash and RAM in bytes of the firmware that build() made.

    Raises OutputError when there is none.
    """
    image = firmware_image(out)
    return FirmwareSize(image.flash_bytes, image.ram_bytes)


def firmware_path(out: Path) -> Path:
    """The ELF file that build() makes. Raises OutputError when `out` holds no project."""
    return _project(out).elf


def firmware_image(out: Path) -> elf.Image:
    """Sections and symbols of the firmware that build() made.

    Raises OutputError when there is none.
    """
    path = firmware_path(out)
    try:
        return elf.read(path)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"cannot read the firmware {path}: {error}", f"Build it: tinygen flash {shlex.quote(str(out))}"
        ) from None


def emulate(out: Path, plugin: str) -> str:
    """Start the emulator of an emulated board with the firmware that build() made, and a plugin; its serial port.

    `plugin` is the emulator's option: the plugin's file, and its arguments. stop() ends it. Raises ToolFailed when it
    does not come up, ToolMissing for one that takes no plugins, OutputError when `out` holds no project for an
    emulated board.
    """
    project = _project(out)
    if project.emulator is None:
        raise OutputError(
            f"{out} was built for a real board", "Build it for an emulated one: `tinygen boards` lists them."
        )
    _check_tools(project)
    _check_plugins(project.emulator["program"])
    machine = ["--program", project.emulator["program"], "--machine", project.emulator["machine"]]
    machine += ["--cpu", project.emulator["cpu"], "--icount-shift", str(project.emulator["icount_shift"])]
    done = _emulator(project, "start", *machine, "--plugin", plugin, str(project.elf))
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise ToolFailed(f"the emulator does not start: {said}", "If another tinygen wrote the folder, build it again.")
    return serial_port(out)


def _project(out: Path) -> _Project:
    settings = configparser.ConfigParser(interpolation=None)
    path = out / "platformio.ini"
    try:
        settings.read_string(path.read_text(encoding="utf-8"))
        environment = settings["platformio"]["default_envs"]
        platform = settings[f"env:{environment}"]["platform"]
        board = settings[f"env:{environment}"]["board"]
        section = settings[f"env:{environment}"]
        baud = int(section["monitor_speed"])
        programs: tuple[str, ...] = ()
        emulator = None
        if platform.endswith(f"/{EMULATED_PLATFORM}"):
            facts = json.loads((out / "boards" / f"{board}.json").read_text(encoding="utf-8"))["build"]
            emulator = facts["emulator"]
            programs = (facts["toolchain"] + "gcc", emulator["program"])
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError, ValueError) as error:
        raise OutputError(
            f"{out} holds no project that tinygen wrote: {type(error).__name__} {error}",
            f"Build it first: tinygen build MODEL -o {out}",
        ) from None
    return _Project(
        out.resolve(),
        environment,
        platform,
        emulator,
        baud,
        section.get("custom_runner"),
        programs,
        usb=tuple(section.get("custom_usb", "").split()),
        native_usb=section.get("custom_native_usb") == "yes",
        resets_on_open=section.get("custom_resets_on_open") == "yes",
        uploads=section.get("custom_uploads", "yes") == "yes",
        bootloader=section.get("custom_bootloader", ""),
    )


def _emulator(project: _Project, *command: str) -> subprocess.CompletedProcess[str]:
    """Run the tool of the project's own platform that knows the emulator."""
    tool = project.out / "platforms" / EMULATED_PLATFORM / "tools" / "emulator.py"
    arguments = [sys.executable, str(tool), "--state", str(project.workspace), *command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def _run_platformio(project: _Project, name: str, arguments: list[str], on_line: OnLine | None) -> None:
    _check_tools(project)
    if not project.emulated:
        check_registry(project.platform)
    project.workspace.mkdir(parents=True, exist_ok=True)
    log = project.workspace / f"tinygen-{name}.log"
    command = [sys.executable, "-m", "platformio", "run", "-d", str(project.out), *arguments]
    with log.open("w", encoding="utf-8") as output:
        code = _run(command, _environment(project), output, on_line)
    if code != 0:
        text = log.read_text(encoding="utf-8").strip()
        _expect_room(text, project, log)
        said = "\n".join(text.splitlines()[-_LAST_LINES:])
        raise ToolFailed(
            f"PlatformIO could not {name} {project.out}:\n{said}",
            " ".join(filter(None, (f"All it said: {log}.", _advice(text, project.hint)))),
        )


def _expect_room(said: str, project: _Project, log: Path) -> None:
    """Raises DoesNotFit where the linker ran out of room: the layers' code is not known before it is compiled."""
    overflows = dict(_OVERFLOW.findall(said))
    if overflows:
        reasons = [f"{region.lower()}: {int(count):,} bytes too many" for region, count in overflows.items()]
        raise DoesNotFit(
            f"the firmware of {project.out} does not fit on {project.environment}, with the layers' code:\n"
            + "\n".join(f"  - {reason}" for reason in reasons),
            "Build it with --optimize size (of flash) or ram, or for a board with more memory (tinygen boards). "
            f"What the linker said: {log}.",
        )


def _advice(said: str, hint: str) -> str:
    """What may help with an error of PlatformIO's; `hint` where the board was to take firmware by then."""
    if _OFFLINE in said:
        return "It has to download what its last lines name, and could not: go online, and try again."
    return hint if _UPLOADING in said else ""


def _run(command: list[str], environment: Mapping[str, str], log: IO[str], on_line: OnLine | None) -> int:
    """Run a program to its end, line by line into `log`; its exit code. Interrupted or killed, it is ended with it."""
    process = subprocess.Popen(
        [sys.executable, "-P", str(Path(__file__).with_name("lifeline.py")), *command],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=os.name != "nt",
    )
    assert process.stdin is not None and process.stdout is not None
    lines: Queue[str | None] = Queue()
    reader = Thread(target=_read_lines, args=(process.stdout, lines), daemon=True)
    reader.start()
    silent = 0.0
    try:
        while True:
            try:
                line = lines.get(timeout=_SILENT_SECONDS)
            except Empty:
                silent += _SILENT_SECONDS
                if on_line is not None:
                    on_line(f"nothing new from PlatformIO for {silent:.0f} s, perhaps it downloads")
                continue
            if line is None:
                return process.wait()
            silent = 0.0
            log.write(line)
            if on_line is not None:
                on_line(line.rstrip())
    finally:
        if process.poll() is None:
            _end(process)
        reader.join(_END_SECONDS)
        process.stdin.close()
        process.stdout.close()


def _read_lines(stream: IO[str], lines: Queue[str | None]) -> None:
    """Pass lines on, and None after the last one."""
    for line in stream:
        lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and the compilers it runs."""
    if os.name == "nt":
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment(project: _Project) -> dict[str, str]:
    variables = dict(os.environ)
    if project.emulated:
        # A private folder for PlatformIO, and none of the user's settings: nothing to download, nothing shared.
        variables = {name: value for name, value in variables.items() if not name.startswith("PLATFORMIO_")}
        variables["PLATFORMIO_CORE_DIR"] = str(project.workspace / "core")
        variables["PLATFORMIO_SETTING_ENABLE_TELEMETRY"] = "no"
        variables["PLATFORMIO_DISABLE_UPGRADE_CHECK"] = "true"
        variables["PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL"] = "36500"  # days; before 6.2
    else:
        # The elf is looked for where platformio.ini puts it.
        for name in ("PLATFORMIO_BUILD_DIR", "PLATFORMIO_WORKSPACE_DIR"):
            variables.pop(name, None)
    variables["PLATFORMIO_NO_ANSI"] = "true"
    return variables


def _check_tools(project: _Project) -> None:
    modules = ("platformio", "SCons") if project.emulated else ("platformio",)
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ToolMissing(
                f"the Python package {module.lower()} is not installed", "Install it: pip install 'tinygen[board]'"
            )
    missing = [program for program in project.programs if shutil.which(program) is None]
    if missing:
        packages = " ".join(_PACKAGES.get(program, program) for program in missing)
        raise ToolMissing(
            f"not installed, or not on the PATH: {', '.join(missing)}",
            f"Install them, on Debian and Ubuntu: sudo apt install {packages}",
        )


def _check_plugins(program: str) -> None:
    said = subprocess.run([program, "-help"], capture_output=True, text=True, errors="replace", check=False)
    if "-plugin " not in said.stdout:
        raise ToolMissing(
            f"{program} takes no plugins, and one is needed to count instructions",
            "Debian's and Ubuntu's packages have them; a QEMU of your own needs configure --enable-plugins.",
        )
