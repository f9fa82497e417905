"""Run pytest with a kernel profile that nobody asked for: python -m tests.new_kernel PYTEST-WORDS.

Linux 7.4 of both architectures, with rules of its own, as CONTRIBUTING says: one entry behind the newest.
"""

from __future__ import annotations

import sys

import pytest

from layouts.arm64 import kernels as arm64
from layouts.x86 import kernels as x86

NAME = "7.4"


def add() -> None:
    """The profiles, before anything else has read the tables."""
    newest = list(x86.kernels().values())[-1]
    changed = {"kvm_xss": 0, "xfeature_max": newest.xfeature_max + 1}
    x86.kernels()[NAME] = newest.replaced(name=NAME, version=f"{NAME}.0", since="", package="", later="", **changed)
    known = arm64.kernels()
    last = list(known.values())[-1]
    rules = {"checks_features": False, "imp_ids": not last.imp_ids}
    known[NAME] = last.replaced(name=NAME, version=f"{NAME}.0", since="", package="", later="", **rules)


if __name__ == "__main__":
    add()
    sys.exit(pytest.main(sys.argv[1:]))
