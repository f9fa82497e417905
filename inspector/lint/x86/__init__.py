"""Checks over x86 state."""

from inspector.lint.x86 import control, xsave

__all__ = ["ARCH", "control", "xsave"]

ARCH = "x86"
