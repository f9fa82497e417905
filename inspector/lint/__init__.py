"""Does a state contradict itself, and what will then happen: one function a rule of ``layouts/lint``."""
