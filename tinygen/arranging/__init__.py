"""In which order of elements each tensor lies, so that the fewest bytes are moved: see `passes/arrange.py`."""
