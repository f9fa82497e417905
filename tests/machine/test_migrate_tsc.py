"""The TSC's frequency of a vCPU that moves: the call, what a VMM does with its refusal, what is taken and not done."""

from __future__ import annotations

import pytest

from inspector.capture.host import Cpuid
from inspector.machine.x86.migrate import tsc
from inspector.machine.x86.migrate.destination import Destination, destination
from inspector.machine.x86.migrate.guest import Guest, steps_of
from inspector.machine.x86.migrate.verdict import Migration, migrate
from inspector.machine.x86.models.offer import offer_of_features
from inspector.readers.options import NO_OPTIONS
from inspector.targets.schemes import capture_of
from inspector.targets.x86_destination import destination_of
from inspector.targets.x86_guest import guest_of_vcpu, tsc_khz_of
from layouts.x86.kernels import profile_for
from layouts.x86.vmms import VMMS

HOST_KHZ = 2_000_000


def host_with(khz: int, *, scales: bool) -> Destination:
    """A Cascade Lake of a frequency, whose vmx flags were read."""
    host = destination_of("sample:cascade-lake/linux-6.1", "", NO_OPTIONS)
    flags = frozenset({"tsc_scaling"} if scales else {"ept"})
    host.kvm.processor = host.kvm.processor._replace(tsc_khz=khz, vmx_flags=flags)
    return host


def guest_with(khz: int) -> Guest:
    capture = capture_of("sample:cascade-lake/linux-6.1")
    guest = guest_of_vcpu(capture, capture.vcpus[0], NO_OPTIONS)
    saved = guest.saved._replace(tsc_khz=khz)
    return guest._replace(saved=saved, captured=guest.captured | steps_of(saved))


def asked(khz: int, vmm: str, *, scales: bool) -> Migration:
    return migrate(guest_with(khz), host_with(HOST_KHZ, scales=scales), VMMS[vmm])


def losses(made: Migration) -> list[str]:
    return [entry.text for entry in made.lost if "TSC" in entry.text or "TSC" in entry.where]


@pytest.mark.parametrize(
    ("khz", "vmm", "scales", "answer", "lost"),
    [
        (HOST_KHZ, "firecracker", False, "ok", ""),
        (HOST_KHZ + 500, "firecracker", False, "ok", ""),
        (HOST_KHZ - 500, "qemu", True, "ok", ""),
        (HOST_KHZ - 500, "qemu", False, "ok", ""),
        (HOST_KHZ + 500, "qemu", False, "ok", ""),
        (HOST_KHZ - 501, "firecracker", False, "EINVAL", ""),
        (HOST_KHZ + 501, "firecracker", False, "ok", "tsc_always_catchup"),
        (HOST_KHZ - 501, "qemu", False, "EOPNOTSUPP", "TSC frequency mismatch"),
        (HOST_KHZ + 501, "qemu", False, "EOPNOTSUPP", "TSC frequency mismatch"),
        (HOST_KHZ // 2, "firecracker", True, "ok", ""),
        (HOST_KHZ * 2, "qemu", True, "ok", ""),
    ],
)
def test_frequencies(khz: int, vmm: str, scales: bool, answer: str, lost: str) -> None:
    made = asked(khz, vmm, scales=scales)
    call = next(call for call in made.calls if call.name == "KVM_SET_TSC_KHZ")
    assert call.outcome.name == answer
    said = losses(made)
    assert bool(said) is bool(lost)
    assert lost in "".join(said)
    # Firecracker ends the load where the call fails, QEMU goes on.
    assert (made.verdict == "refused") is (answer == "EINVAL")


@pytest.mark.parametrize(("host_khz", "khz", "ppm"), [(HOST_KHZ, HOST_KHZ - 2000, "1000"), (2_000_001, 1_999_500, "")])
def test_the_tolerance_of_kvm_is_a_parameter_and_qemus_is_not(host_khz: int, khz: int, ppm: str) -> None:
    """adjust_tsc_khz rounds the lower bound down, freq_within_bounds of QEMU rounds it up and has 250 ppm."""
    host = host_with(host_khz, scales=False)
    host.kvm.parameters = {**host.kvm.parameters, "tsc_tolerance_ppm": ppm}
    for vmm, answer in (("firecracker", "ok"), ("qemu", "EOPNOTSUPP")):
        made = migrate(guest_with(khz), host, VMMS[vmm])
        assert next(call for call in made.calls if call.name == "KVM_SET_TSC_KHZ").outcome.name == answer


def test_what_nobody_tells_is_open() -> None:
    host = destination_of("sample:cascade-lake/linux-6.1", "", NO_OPTIONS)
    made = migrate(guest_with(HOST_KHZ), host, VMMS["firecracker"])
    assert made.open[-1] == "the destination's TSC frequency (the guest's is 2000000 kHz)"
    assert not any(call.name == "KVM_SET_TSC_KHZ" for call in made.calls)
    host.kvm.processor = host.kvm.processor._replace(tsc_khz=HOST_KHZ * 2)
    made = migrate(guest_with(HOST_KHZ), host, VMMS["firecracker"])
    assert made.open[-1].startswith("whether the destination scales TSCs")
    assert migrate(guest_with(0), host, VMMS["firecracker"]).verdict == "arrives"


def test_a_stream_has_the_frequency() -> None:
    capture = capture_of("sample:qemu-kvm-x87/migration-stream.xz")
    assert tsc_khz_of(capture.vcpus[0]) == 2_100_000
    assert guest_of_vcpu(capture, capture.vcpus[0], NO_OPTIONS).saved.tsc_khz == 2_100_000


def test_what_was_asked_of_the_frequency_is_told() -> None:
    made = asked(HOST_KHZ // 2, "qemu", scales=False)
    refused = next(call.outcome for call in made.calls if call.step == "tsc_khz")
    assert [check.held for check in refused.checks] == [False]
    assert refused.because.endswith("or the guest's 1000000 kHz is within 250 ppm of the destination's 2000000 kHz")
    host = host_with(0, scales=True)
    made = migrate(guest_with(HOST_KHZ), host, VMMS["qemu"])
    unknown = next(call.outcome for call in made.calls if call.step == "tsc_khz")
    assert (unknown.name, [check.held for check in unknown.checks]) == ("ok", [True])
    assert "whatever the destination's frequency is" in unknown.because


@pytest.mark.parametrize(
    ("is_raw", "has_table", "bit", "expected"),
    [
        (True, True, 1 << 4, True),
        (True, True, 0, False),
        # No raw table, and KVM_GET_SUPPORTED_CPUID is known: it has SVM's leaf.
        (False, True, 0, False),
        (False, False, 0, None),
    ],
)
def test_svm_tells_by_cpuid_whether_it_scales(is_raw: bool, has_table: bool, bit: int, expected: bool | None) -> None:
    """CPUID.8000000A.EDX[4] (TSCRATEMSR); a guest's table without SVM does not have the leaf."""
    raw = destination_of("sample:epyc-milan/linux-6.1", "", NO_OPTIONS).kvm.raw
    row = raw.get(0x8000000A) or (1, 0, 0, 0)
    leaves = {**raw.leaves, (0x8000000A, 0): (row[0], row[1], row[2], row[3] & ~0x10 | bit)}
    if not has_table:
        leaves.pop((0x8000000A, 0))
    host = destination("h", Cpuid(leaves), profile_for("6.1"), is_raw=is_raw, is_guests=not has_table)
    assert tsc.scales(host) is expected


@pytest.mark.parametrize(("named", "expected"), [("tsc-scale", False), ("npt", None)])
def test_a_host_by_names_tells_where_it_names_the_bit(named: str, expected: bool | None) -> None:
    host = destination_of("sample:epyc-milan/linux-6.1", "", NO_OPTIONS)
    host.kvm.parameters = {**host.kvm.parameters, "tsc_scaling": "N"}
    offer = offer_of_features("h", (), [named], signature=("AuthenticAMD", 25, 1, 1))
    assert tsc.scales(Destination("h", host.kvm, is_raw=False, offer=offer)) is expected
