"""What PlatformIO has to download before it can build for a board, and whether it could."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from pathlib import Path

from tinygen.errors import ToolFailed

REGISTRY = ("api.registry.platformio.org", 443)
_SECONDS = 2.5
_ENGINE = "tool-scons"
_PARTS = {"framework": "a framework", "toolchain": "a compiler"}


def check_registry(platform: str, registry: tuple[str, int] = REGISTRY) -> None:
    """Say in words, and at once, what PlatformIO takes minutes to fail on: a download without a network.

    `platform` is as in platformio.ini: "ststm32@19.6.0". Raises ToolFailed.
    """
    missing = missing_packages(platform)
    proxied = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    if not missing or proxied:
        return
    reason = unreachable(registry)
    if reason is not None:
        raise ToolFailed(
            f"PlatformIO has to download {_listed(missing)}. Its registry {registry[0]} cannot be reached: {reason}",
            f"Go online, and get it once: pio pkg install -g -p {platform}. Emulated boards need no network.",
        )


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def missing_packages(platform: str) -> list[str]:
    """What is not in PlatformIO's folder, in words: the platform in its version, and what every build needs.

    Which framework and which compiler a board needs, only its platform knows: one of each has to be there.
    """
    packages = _packages_folder()
    name, _, version = platform.partition("@")
    found = _versions(platforms_folder(), "platform.json", name.strip())
    missing = []
    if not found or (version.strip()[:1].isdigit() and version.strip() not in found):
        missing.append(f"the platform {platform}")
    if not _versions(packages, "package.json", _ENGINE):
        missing.append(f"the build engine {_ENGINE}")
    missing += [what for kind, what in _PARTS.items() if not any(packages.glob(f"{kind}-*/package.json"))]
    return missing


def platforms_folder() -> Path:
    """Where PlatformIO keeps its platforms."""
    return Path(os.environ.get("PLATFORMIO_PLATFORMS_DIR") or _core_folder() / "platforms")


def tool(program: str) -> str:
    """A compiler's program: by its name where that is on the PATH, else PlatformIO's own, where there is one."""
    if shutil.which(program) is None:
        found = sorted(_packages_folder().glob(f"toolchain-*/bin/{program}*"))
        same = [path for path in found if path.stem == program]
        return str(same[-1]) if same else program
    return program


def _packages_folder() -> Path:
    return Path(os.environ.get("PLATFORMIO_PACKAGES_DIR") or _core_folder() / "packages")


def _core_folder() -> Path:
    return Path(os.environ.get("PLATFORMIO_CORE_DIR") or Path.home() / ".platformio")


def _versions(folder: Path, file: str, name: str) -> set[str]:
    """The versions of a package that are installed."""
    versions = set()
    for path in folder.glob(f"{name}*/{file}"):
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(described, dict) and described.get("name") == name:
            versions.add(str(described.get("version")))
    return versions


def unreachable(address: tuple[str, int]) -> str | None:
    """Why no connection can be made; None when one can. A name that nobody resolves would take longer to fail."""
    reasons: list[str] = [f"no answer in {_SECONDS} s"]

    def connect() -> None:
        try:
            socket.create_connection(address, _SECONDS).close()
            reasons.clear()
        except OSError as error:
            reasons[:] = [str(error)]

    attempt = threading.Thread(target=connect, daemon=True)
    attempt.start()
    attempt.join(_SECONDS + 0.5)
    return reasons[0] if reasons else None
