"""Linux on processors: processes, fpstate, context switches, exceptions, signals."""
