"""Ratios against peers and limits: python -m benchmarks."""
