"""The version of this tinygen, as its package metadata states it."""

from __future__ import annotations

import importlib.metadata

VERSION = importlib.metadata.version("tinygen")
