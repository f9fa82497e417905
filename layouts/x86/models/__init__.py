"""Named x86 CPU models and the names of feature bits, as VMMs have them: data with its source."""
