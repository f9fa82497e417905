"""Recorded answers of x86 kernels, replayed against the machine."""
