"""The command line, a file for each command: the only package that prints, and the only one that exits."""

from tinygen.cli.entry import main

__all__ = ["main"]
