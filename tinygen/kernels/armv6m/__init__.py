"""Kernels for Armv6-M (Cortex-M0, M0+): no product of more than 32 bits, and all but eight registers only to move."""
