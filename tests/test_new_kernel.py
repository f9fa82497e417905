"""The drill of CONTRIBUTING: a new kernel profile breaks no golden, no default and no scenario."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "words",
    [
        ["tests/tui/test_id_lab.py", "-k", "id_lab_screens and blocked and 80x24"],
        ["tests/tui/test_xstate_lab.py", "-k", "lab_screens and lab-refused and 80x24"],
        ["tests/machine/test_sim.py", "-k", "come_to_their_verdicts"],
        ["tests/machine/test_migrate_x86.py", "-k", "json_has_its_keys"],
    ],
    ids=lambda words: Path(words[0]).stem,
)
def test_goldens_and_scenarios_do_not_hang_on_the_newest_kernel(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.new_kernel", "-q", "-p", "no:xdist", f"--basetemp={tmp_path}/in", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_drill_is_seen() -> None:
    """A release behind the newest has then a profile of its own."""
    code = "from tests.new_kernel import add; add(); from inspector.cli.main import main; main(['layouts', 'kernels'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.count("Linux 7.4.0") == 2, done.stdout + done.stderr
