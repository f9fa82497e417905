"""The terminal interface. Only here is textual imported."""
