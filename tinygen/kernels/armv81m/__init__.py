"""Kernels in assembly for cores with MVE, the vector extension of Armv8.1-M: Cortex-M55 and M85."""
