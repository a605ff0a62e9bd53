"""Starts QEMU, simavr or rp2040js with an image, detached, and stops it: what flashing means for an emulated board.

The state folder gets `emulator.json` ({"pid", "port", "image"}), `emulator.log` and, for a pty, the link `serial`.
The board's UART is a pty; with TINYGEN_SERIAL=tcp in the environment, and on Windows, a TCP port.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from machines import NODE, PACKAGES, SIMAVR, qemu, rp2040js, simavr
from uarts import Pty, Tcp, has_terminals

START_SECONDS = 15.0
STOP_SECONDS = 3.0

DAMAGED_FRAME = b"\1\0"


@dataclass(frozen=True)
class Emulator:
    """A started emulator, as remembered in the state folder."""

    pid: int
    port: str
    image: str

    @classmethod
    def load(cls, state: Path) -> Emulator | None:
        """The one that was started last; None where there is none."""
        try:
            fields = json.loads((state / "emulator.json").read_text())
            return cls(int(fields["pid"]), str(fields["port"]), str(fields["image"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def runs(self) -> bool:
        """Whether it still runs: not a zombie, nor another process that got its number later."""
        try:
            return os.fsencode(self.image) in Path("/proc", str(self.pid), "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            if Path("/proc/self").exists():
                return False
        if os.name == "nt":
            listed = subprocess.run(["tasklist", "/FI", f"PID eq {self.pid}"], capture_output=True, check=False)
            return b"qemu-system" in listed.stdout or b"node.exe" in listed.stdout
        listed = subprocess.run(["ps", "-ww", "-p", str(self.pid), "-o", "command="], capture_output=True, check=False)
        return os.fsencode(self.image) in listed.stdout


def stop(state: Path) -> str:
    """Ends the emulator that this state folder knows of; a sentence that says what was done."""
    emulator = Emulator.load(state)
    if emulator is None:
        return "No emulator was started here."
    said = f"The emulator, process {emulator.pid}, had ended already."
    if emulator.runs():
        said = f"Stopped the emulator, process {emulator.pid}."
        end(emulator)
    forget(state)
    return said


def forget(state: Path) -> None:
    """Remove what is remembered."""
    (state / "emulator.json").unlink(missing_ok=True)
    (state / "serial").unlink(missing_ok=True)


def end(emulator: Emulator) -> None:
    """SIGTERM, and SIGKILL for one that does not listen."""
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        try:
            os.kill(emulator.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            if not emulator.runs():
                return
            time.sleep(0.01)


def wait_until_up(process: subprocess.Popen[bytes], uart: Pty | Tcp) -> bool:
    """Whether the firmware answers: it says NAK to a damaged frame. False when the emulator ended or took too long."""
    deadline = time.monotonic() + START_SECONDS
    heard = b""
    while process.poll() is None and time.monotonic() < deadline:
        got = uart.ask(DAMAGED_FRAME if not heard else b"")
        heard += got
        if heard and not got:  # and nothing is left for the next reader
            return True
    return False


def start(
    state: Path,
    program: str,
    machine: str,
    cpu: str,
    icount_shift: int,
    image: Path,
    uart: Pty | Tcp,
    plugin: str | None,
) -> None:
    """Starts the emulator, with a plugin and its arguments if any; RuntimeError, in words, when it does not come up."""
    stop(state)
    if shutil.which(program) is None:
        raise RuntimeError(f"{program} is not installed (Debian and Ubuntu: apt install {PACKAGES[program]})")
    state.mkdir(parents=True, exist_ok=True)
    log = state / "emulator.log"
    if program == SIMAVR:
        command = simavr(state, machine, image, uart)
    elif program == NODE:
        command = rp2040js(image, uart)
    else:
        command = qemu(program, machine, cpu, icount_shift, image, uart)
        command += ["-plugin", plugin] if plugin else []
    with log.open("wb") as output:  # never a pipe: SCons would wait for its end
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, pass_fds=uart.inherited,
        )  # fmt: skip
    # Before it is up: whoever interrupts this can still stop it.
    emulator = Emulator(process.pid, uart.name, str(image))
    (state / "emulator.json").write_text(json.dumps(asdict(emulator)) + "\n")
    if isinstance(uart, Pty):
        (state / "serial").symlink_to(uart.name)
    up = False
    try:
        up = wait_until_up(process, uart)
        silent = process.poll() is None
    finally:
        if not up:
            process.kill()
            process.wait()
            forget(state)
    if not up:
        said = log.read_text(errors="replace").strip()
        raise RuntimeError(f"{program} " + ("runs, but the firmware is silent" if silent else f"ended:\n{said}"))


def main() -> int:
    """The command line; 0, or 1 with a sentence on stderr."""
    parser = argparse.ArgumentParser(description="start or stop an emulated board")
    parser.add_argument("--state", type=Path, required=True, help="folder that remembers the running emulator")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("start", help="start it, after stopping the one before")
    starting.add_argument("--program", required=True)
    starting.add_argument("--machine", required=True)
    starting.add_argument("--cpu", default="", help="a processor of the machine's, with its properties")
    starting.add_argument("--icount-shift", type=int, required=True, help="instructions take 2^this nanoseconds")
    starting.add_argument("--plugin", help="a plugin of QEMU, with its arguments: FILE,NAME=VALUE,...")
    starting.add_argument("image", type=Path)
    commands.add_parser("stop", help="stop it")
    commands.add_parser("port", help="print its serial port; exit code 1 when it does not run")
    options = parser.parse_args()
    if options.command == "stop":
        print(stop(options.state))
        return 0
    if options.command == "port":
        emulator = Emulator.load(options.state)
        if emulator is None or not emulator.runs():
            return 1
        print(emulator.port)
        return 0
    uart = Pty() if has_terminals() else Tcp()
    try:
        image = options.image.resolve()
        start(
            options.state,
            options.program,
            options.machine,
            options.cpu,
            options.icount_shift,
            image,
            uart,
            options.plugin,
        )
    except RuntimeError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        uart.close()
    print(f"The board runs; serial port {uart.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
