"""Recorded programs on real silicon, replayed: each a fresh process of a Linux, step by step."""
