"""Numerical kernels: arrays in, arrays out; the only package that touches Numba."""
