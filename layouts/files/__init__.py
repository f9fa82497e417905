"""Structures of the files that captures come in."""
