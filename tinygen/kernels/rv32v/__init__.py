"""Kernels for cores with RISC-V's vectors of integers: C, with assembly for the inner loops."""
