"""Rules over arm64 state, a module for each group of codes."""

from layouts.lint.arm64 import counters, features, lists, vcpus, vectors, vmm

__all__ = ["RULES"]

RULES = (*features.RULES, *vectors.RULES, *lists.RULES, *vcpus.RULES, *counters.RULES, *vmm.RULES)
