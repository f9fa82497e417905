"""A vCPU moves to another x86 host: the calls that its VMM makes there, and the bits that differ."""
