"""Checks over arm64 state."""

ARCH = "arm64"
