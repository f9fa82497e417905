"""The arm64 machine to play with: events in words, one Step each, undo."""
