"""The operators: one file each, with attributes, arithmetic, reference, kernels and test cases."""
