"""Textual reads its environment when it is imported: what a developer has set must not change the screens."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest

for name in [name for name in os.environ if name.startswith("TEXTUAL_")] + ["NO_COLOR", "COLORTERM", "FORCE_COLOR"]:
    os.environ.pop(name, None)
os.environ["TEXTUAL_ANIMATIONS"] = "none"
os.environ["TERM"] = "xterm-256color"


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that tests start write here, reports of bugs too; what else is left there was forgotten by us."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield
    assert not [path.name for path in folder.iterdir() if not path.name.startswith("inspector-bug-")]
