"""PlatformIO's view of this platform: everything it needs is on this computer already."""

import importlib.util
import json
import os
import shutil
import tempfile
from pathlib import Path

from platformio import app, telemetry
from platformio.package.meta import PackageSpec
from platformio.public import PlatformBase

SCONS_MAIN = "import sys\n\nfrom SCons.Script.Main import main\n\nsys.exit(main())\n"


def stay_offline():
    """Neither usage reports nor looking for updates: the project's own core folder has no settings of the user's."""
    os.environ["PLATFORMIO_DISABLE_UPGRADE_CHECK"] = "true"
    os.environ["PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL"] = "36500"
    os.environ["PLATFORMIO_SETTING_ENABLE_TELEMETRY"] = "no"
    app.set_session_var("pause_telemetry", True)
    events = getattr(telemetry.TelemetryLogger(), "_events", None)
    if events:  # noted before this platform was loaded
        events.clear()


def required_scons():
    """The version range of tool-scons that this PlatformIO asks for, e.g. "~4.41101.0"."""
    try:
        from platformio.dependencies import get_core_dependencies
    except ImportError:  # before 6.1.17
        from platformio import __core_packages__

        return __core_packages__["tool-scons"]
    return get_core_dependencies()["tool-scons"]


class Tinygen_qemuPlatform(PlatformBase):
    """The name follows PlatformIO's rule: the platform's name, capitalised."""

    def configure_default_packages(self, options, targets):
        """Called before the build engine is looked for: lays it out."""
        stay_offline()
        self.provide_scons()
        return super().configure_default_packages(options, targets)

    def is_embedded(self):
        """True, so that `pio test` goes through upload and the serial port."""
        return True

    def provide_scons(self):
        """Make tool-scons from PyPI's `scons`, where PlatformIO would download it."""
        requirements = required_scons()
        if self.pm.get_package(PackageSpec(owner="platformio", name="tool-scons", requirements=requirements)):
            return
        found = importlib.util.find_spec("SCons")
        if not found:
            return  # PlatformIO downloads its own
        packages = Path(self.pm.package_dir)
        packages.mkdir(parents=True, exist_ok=True)
        # Only the metadata's version is checked, so it is the one that is asked for.
        version = requirements.lstrip("~^=> ")
        target = packages / "tool-scons"
        if target.exists():  # laid out for another PlatformIO: both stay
            target = packages / f"tool-scons@{version}"
        # Beside packages/, not in it: every folder with a manifest in there counts as installed.
        draft = Path(tempfile.mkdtemp(prefix="tool-scons-", dir=packages.parent))
        try:
            unneeded = shutil.ignore_patterns("__pycache__", "docbook")
            shutil.copytree(Path(found.origin).parent, draft / "SCons", ignore=unneeded)
            (draft / "scons.py").write_text(SCONS_MAIN)
            described = {"name": "tool-scons", "version": version, "system": "*", "description": "SCons from PyPI"}
            (draft / "package.json").write_text(json.dumps(described))
            source = {"owner": "platformio", "id": None, "name": "tool-scons", "requirements": None, "uri": None}
            package = {"type": "tool", "name": "tool-scons", "version": version, "spec": source}
            (draft / ".piopm").write_text(json.dumps(package))
            draft.rename(target)  # atomic: whoever loses the race uses the winner's
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
        self.pm.memcache_reset()
