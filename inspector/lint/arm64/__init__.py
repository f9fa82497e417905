"""Checks over arm64 state."""

from inspector.lint.arm64 import counters, features, lists, vcpus, vectors, vmm

__all__ = ["counters", "features", "lists", "vcpus", "vectors", "vmm"]
