"""The folder ``shared`` beside the checkout: other people's corpora and data, which no commit holds.

What is read from there is never copied into the tree; a test that needs it is skipped where it is not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
FIRECRACKER = SHARED / "captures/external/firecracker"
LIBCPUID = SHARED / "captures/external/libcpuid"


def needs(path: Path) -> pytest.MarkDecorator:
    """Skip where the folder beside the checkout does not have it."""
    return pytest.mark.skipif(not path.exists(), reason=f"{path.relative_to(SHARED.parent)} is not beside the checkout")
