"""Checks over arm64 state."""
