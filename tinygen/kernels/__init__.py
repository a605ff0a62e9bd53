"""Kernels for particular cores, a package for each instruction set; the portable ones stand beside their operators."""
