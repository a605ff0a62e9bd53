"""Settings and fixtures of all tests."""

import pytest
from commands import Run, caller
from hypothesis import settings

# The same examples on every machine, however busy it is.
settings.register_profile("tinygen", deadline=None, derandomize=True)
settings.load_profile("tinygen")

LONG = frozenset(
    f"test_{name}.py"
    for name in ("ops_on_board", "avr", "models", "feeding", "damaged_models", "benchmarks", "compare", "dual_issue")
)
"""Files with tests that take many seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first: of several workers, none is left with one of them when the others have nothing to do."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    return caller(monkeypatch, capfd)
