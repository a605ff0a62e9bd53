"""Runs a program, and ends it and what it started when whoever asked for it is gone: `lifeline.py PROGRAM ARGUMENT...`.

Run as a file of its own, as the leader of its session; standard input is a pipe that the other end never writes to.
PlatformIO would wait forever for a reader of its output that was killed.
"""

import os
import signal
import subprocess
import sys
import threading


def _watch(process: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)  # nothing, at its end
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(0, signal.SIGKILL)


def main() -> int:
    """The program's exit code."""
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    threading.Thread(target=_watch, args=(process,), daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main())
