"""Readers: one file a format, bytes -> Capture; which one is decided by content."""
