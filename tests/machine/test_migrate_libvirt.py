"""What libvirt names when it compares a model with its host: every bit that it names, we name."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.verdict import migrate
from inspector.readers.options import NO_OPTIONS
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_model
from layouts.x86.vmms import VMMS

VIRSH = shutil.which("virsh")
MODELS = (
    "EPYC",
    "EPYC-Rome",
    "EPYC-Milan",
    "Nehalem",
    "Haswell",
    "Broadwell-noTSX",
    "Skylake-Client-IBRS",
    "Skylake-Server",
    "Cascadelake-Server",
    "Icelake-Server",
    "Cooperlake",
    "SapphireRapids",
)
Virsh = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def virsh(tmp_path_factory: pytest.TempPathFactory) -> Virsh:
    """virsh with libvirt's driver of QEMU inside it: no daemon, a root of its own."""
    root = tmp_path_factory.mktemp("libvirt")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(VIRSH), "-c", f"qemu:///embed?root={root}", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    if VIRSH is None:
        pytest.skip("virsh is not installed")
    if run("domcapabilities", "--virttype", "qemu").returncode:
        pytest.skip("libvirt's driver of QEMU is not installed, or does not start here")
    return run


@pytest.fixture(scope="module")
def host(virsh: Virsh, tmp_path_factory: pytest.TempPathFactory) -> Destination:
    path = tmp_path_factory.mktemp("host") / "domcapabilities.xml"
    path.write_text(virsh("domcapabilities", "--virttype", "qemu").stdout)
    return destination_of(str(path), "", NO_OPTIONS)


@pytest.mark.parametrize("model", MODELS)
def test_every_feature_that_libvirt_misses_is_named(
    model: str, virsh: Virsh, host: Destination, tmp_path: Path
) -> None:
    asked = tmp_path / "cpu.xml"
    asked.write_text(f"<cpu mode='custom' match='exact'><model fallback='forbid'>{model}</model></cpu>")
    said = virsh("hypervisor-cpu-compare", str(asked), "--virttype", "qemu", "--error").stderr
    found = re.search(r"required features: ([^\n]*)", said)
    named = set(found[1].split(", ")) if found else set()
    # libvirt compares the model's own features, SVM's with them, which QEMU leaves out under KVM unless asked for.
    line = f"{model},+svm" if model.startswith("EPYC") else model
    made = migrate(guest_of_model(f"model:{line}:{model}", "", NO_OPTIONS), host, VMMS["libvirt"])
    message = next((entry.message for entry in made.compared if entry.refuses), "")
    ours = set(message.partition("missing features: ")[2].split(","))
    assert named <= ours, (sorted(named - ours), sorted(ours - named))
    assert (made.verdict == "refused") >= bool(named)
