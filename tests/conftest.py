"""Settings of all tests."""

from hypothesis import settings

# The same examples on every machine, however busy it is.
settings.register_profile("tinygen", deadline=None, derandomize=True)
settings.load_profile("tinygen")
