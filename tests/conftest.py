"""Settings and fixtures of all tests."""

import pytest
from commands import Run, caller
from hypothesis import settings

# The same examples on every machine, however busy it is.
settings.register_profile("tinygen", deadline=None, derandomize=True)
settings.load_profile("tinygen")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return caller(monkeypatch, capfd)
