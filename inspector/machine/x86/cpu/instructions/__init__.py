"""What instructions do on a processor: one function an instruction, checks in the manual's order."""
