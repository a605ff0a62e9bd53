"""The commands that start QEMU, simavr and rp2040js with a board's UART."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from uarts import Pty, Tcp

SIMAVR = "simavr"
NODE = "node"  # runs rp2040js

PACKAGES = {
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-riscv32": "qemu-system-misc",
    SIMAVR: "simavr libsimavr-dev",
    NODE: "nodejs",
}


def qemu(program: str, machine: str, cpu: str, icount_shift: int, image: Path, uart: Pty | Tcp) -> list[str]:
    """The command that starts QEMU."""
    command = [program, "-M", machine, "-display", "none", "-monitor", "none", *uart.arguments]
    command += ["-cpu", cpu] if cpu else []
    # Sleeping takes none of the machine's time, so that ticks do not depend on the host.
    return [*command, "-icount", f"shift={icount_shift},sleep=off", "-kernel", str(image)]


def simavr(state: Path, machine: str, image: Path, uart: Pty | Tcp) -> list[str]:
    """The command that starts simavr, a library: what connects it to a terminal is compiled for that."""
    if not isinstance(uart, Pty):
        raise RuntimeError("boards in simavr talk through a pseudo terminal only, not over TCP, and not on Windows")
    compiler = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        raise RuntimeError(
            "no C compiler for this computer is installed (Debian and Ubuntu: apt install gcc libc6-dev)"
        )
    source, program = Path(__file__).with_name("simavr_uart.c"), state / "simavr_uart"
    build = [compiler, "-O2", str(source), "-o", str(program), "-lsimavr"]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"what connects simavr to a terminal does not compile; is libsimavr-dev there?\n{done.stderr}"
        )
    return [str(program), machine, str(uart.inherited[0]), str(image)]


def rp2040js(image: Path, uart: Pty | Tcp) -> list[str]:
    """The command that starts rp2040js, a library for Node.js."""
    wire = str(uart.inherited[0]) if isinstance(uart, Pty) else f"{uart.port}@{uart.host}"
    return [NODE, str(Path(__file__).with_name("rp2040_uart.mjs")), wire, str(image)]
