"""What libvirt names when it compares and combines CPUs: every bit that it names, we name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from inspector.machine.x86.migrate.destination import Destination
from inspector.machine.x86.migrate.verdict import Migration, migrate
from inspector.machine.x86.models.baseline import baseline
from inspector.readers.options import NO_OPTIONS
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_model
from inspector.targets.x86_offers import offer_named
from layouts.x86.models.features import feature_named, msr_feature_at
from layouts.x86.models.qemu import qemu_models
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


def missed(virsh: Virsh, command: str, model: str, path: Path, *words: str) -> set[str]:
    """The features of a model that libvirt does not find, by its own names."""
    path.write_text(f"<cpu mode='custom' match='exact'><model fallback='forbid'>{model}</model></cpu>")
    said = virsh(command, str(path), *words, "--error").stderr
    found = re.search(r"required features: ([^\n]*)", said)
    return set(found[1].split(", ")) if found else set()


def moved(model: str, host: Destination) -> Migration:
    """A guest of the model to the host.

    libvirt compares the model's own features, SVM's with them, which QEMU leaves out under KVM unless asked for.
    """
    line = f"{model},+svm" if model.startswith("EPYC") else model
    return migrate(guest_of_model(f"model:{line}:{model}", "", NO_OPTIONS), host, VMMS["libvirt"])


@pytest.mark.parametrize("model", MODELS)
def test_every_feature_that_libvirt_misses_is_named(
    model: str, virsh: Virsh, host: Destination, tmp_path: Path
) -> None:
    named = missed(virsh, "hypervisor-cpu-compare", model, tmp_path / "cpu.xml", "--virttype", "qemu")
    made = moved(model, host)
    message = next((entry.message for entry in made.compared if entry.refuses), "")
    ours = set(message.partition("missing features: ")[2].split(","))
    assert named <= ours, (sorted(named - ours), sorted(ours - named))
    assert (made.verdict == "refused") >= bool(named)


#: What KVM gives guests of any CPU, and cpu-compare, which looks at the host's own CPUID, does not find: the leaf's bit
#: and the bits of the MSR that a CPU which needs no mitigation has (kvm_set_cpu_caps, kvm_get_arch_capabilities).
_OF_KVM = "arch-capabilities"


@pytest.mark.parametrize("model", MODELS if os.environ.get("ALL_PAIRS") else MODELS[2::4])
def test_every_feature_that_the_host_lacks_for_libvirt_is_named(model: str, virsh: Virsh, tmp_path: Path) -> None:
    """``cpu-compare``: with this machine's own CPU, of which /proc/cpuinfo tells us; what that leaves out is open."""
    if not Path("/proc/cpuinfo").is_file():
        pytest.skip("/proc/cpuinfo is not there")
    this = destination_of("/proc/cpuinfo", "", NO_OPTIONS)
    named = {feature_named(name) for name in missed(virsh, "cpu-compare", model, tmp_path / "cpu.xml")}
    made = moved(model, this)
    ours = {bit.name for bit in made.bits if bit.blocks or not bit.known}
    bits = msr_feature_at().items()
    of_kvm = {_OF_KVM} | {name for (msr, bit), name in bits if (this.feature_msr(msr) or 0) >> bit & 1}
    known = qemu_models().named(model)
    assert known is not None
    # libvirt's models have features (mpx) that newer versions of QEMU's have not.
    assert {name for name in named - ours - of_kvm if name in known.features} == set()


PAIRS = (
    ("EPYC-Rome", "EPYC-Milan"),
    ("EPYC", "EPYC-Rome"),
    ("Haswell", "Skylake-Server"),
    ("Cascadelake-Server", "Icelake-Server"),
    ("Broadwell", "Cooperlake"),
)


def required(virsh: Virsh, command: str, cpus: list[str], path: Path, *words: str) -> set[str]:
    """The features, by QEMU's names, of the CPU that libvirt makes of these; empty where it makes none."""
    path.write_text("\n".join(cpus))
    made = virsh(command, str(path), "--features", *words)
    return {feature_named(name) for name in re.findall(r"policy='require' name='([^']+)'", made.stdout)}


def not_common(named: set[str], pair: tuple[str, str]) -> set[str]:
    """What libvirt names and we do not, but for features that its model has and QEMU's of that name has not."""
    ours = baseline([offer_named(name) for name in pair])
    models = [qemu_models().named(name) for name in pair]
    return {name for name in named - ours.common if all(model and name in model.features for model in models)}


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_every_feature_of_libvirts_baseline_of_hosts_is_common(
    pair: tuple[str, str], virsh: Virsh, tmp_path: Path
) -> None:
    cpus = [f"<cpu><arch>x86_64</arch><model>{name}</model></cpu>" for name in pair]
    named = required(virsh, "cpu-baseline", cpus, tmp_path / "hosts.xml")
    if not named:
        pytest.skip(f"this libvirt makes no baseline of {' and '.join(pair)}")
    assert not not_common(named, pair)


def test_every_feature_of_libvirts_baseline_of_guests_is_common(virsh: Virsh, tmp_path: Path) -> None:
    """hypervisor-cpu-baseline: of CPUs of guests; what the hypervisor lacks, libvirt does not take out."""
    cpus = [f"<cpu mode='custom' match='exact'><model fallback='forbid'>{name}</model></cpu>" for name in PAIRS[0]]
    named = required(virsh, "hypervisor-cpu-baseline", cpus, tmp_path / "guests.xml", "--virttype", "qemu")
    assert named
    assert not not_common(named, PAIRS[0])
