"""Mutated inputs for every reader: ``make fuzz SECONDS=60 READER=elf``; a short round of each runs with the tests."""
