"""A real KVM, played by the simulated machine behind the ioctl interface; and how it is refused elsewhere."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import struct
from pathlib import Path

import pytest

from inspector.cli.main import main
from inspector.export.models import realization_json
from inspector.machine.arm64 import live
from inspector.machine.arm64.capabilities import check_extension
from inspector.machine.arm64.captured import state_of_scratch
from inspector.machine.arm64.host import PSCI_0_2, SVE, Host
from inspector.machine.arm64.live import LiveError, LiveKvm
from inspector.machine.arm64.migrate import migrate
from inspector.machine.arm64.models.accepted import on_host
from inspector.machine.arm64.models.realize import ask, realize
from inspector.machine.arm64.models.request import parse_words, request
from inspector.machine.arm64.vcpu import Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Outcome
from inspector.targets.arm64_world import host_of_word
from inspector.targets.live import kvm_arm64, recorder_arm64
from layouts.arm64.ids import CCSIDR, CLIDR, FEATURE_ID_COUNT, MPIDR, PFR0, X0, feature_id_encoding, sysreg_id
from layouts.arm64.named_models import named_models
from tests.machine.arm64_bounds import answer

NONE = parse_words([])
GENERIC_V8, SVE_CAPABILITY = 5, 170


class PlayedKvm:
    """ioctls on simulated VMs. File numbers count up; memory is read and written where the caller says."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.files: dict[int, Vm | Vcpu] = {}
        self.next = 1000
        self.closed: list[int] = []

    def _new(self, thing: Vm | Vcpu) -> int:
        self.next += 1
        self.files[self.next] = thing
        return self.next

    def ioctl(self, file: int, number: int, data: int | bytearray) -> int:
        if number == live._CREATE_VM:
            # The type is the size of guest physical addresses; 0 is 40 bits.
            assert data == 0
            return self._new(Vm(self.host, has_vgic=True))
        if file not in self.files:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        thing = self.files[file]
        if isinstance(thing, Vm):
            return self._of_vm(thing, number, data)
        assert isinstance(data, bytearray)
        return self._of_vcpu(thing, number, data)

    def _of_vm(self, vm: Vm, number: int, data: int | bytearray) -> int:
        if number == live._CREATE_VCPU:
            assert data == 0
            vm.create_vcpu(data)
            return self._new(vm.vcpus[data])
        if number == live._ENABLE_CAP:
            # kvm_vm_ioctl_enable_cap refuses flags; arguments are for other capabilities.
            assert struct.unpack_from("=II4Q", data) == (live._CAP_WRITABLE_IMP_ID_REGS, 0, 0, 0, 0, 0)
            return told(vm.enable_imp_id_regs())
        if number == live._CHECK_EXTENSION:
            assert isinstance(data, int)
            return check_extension(self.host, data, of_vm=True)
        assert isinstance(data, bytearray)
        if number == live._WRITABLE_MASKS:
            address, *numbers = struct.unpack_from("=QII", data)
            told(vm.writable_masks(range_number=numbers[0], reserved=numbers[1]))
            masks = [self.host.mask(feature_id_encoding(index)) for index in range(FEATURE_ID_COUNT)]
            ctypes.memmove(address, struct.pack("=192Q", *masks), 8 * 192)
        if number == live._PREFERRED_TARGET:
            struct.pack_into("=I", data, 0, GENERIC_V8)
        return 0

    def _of_vcpu(self, vcpu: Vcpu, number: int, data: bytearray) -> int:
        if number == live._VCPU_INIT:
            # kvm_vcpu_set_target: the machine's own target, and no feature behind the first word.
            target, features, *others = struct.unpack("=I7I", data)
            if target != GENERIC_V8 or any(others):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            return told(vcpu.init(features))
        if number == live._FINALIZE:
            return told(vcpu.finalize(struct.unpack("=i", data)[0]))
        if number == live._GET_REG_LIST:
            return self._list(vcpu, data)
        register_id, address = struct.unpack("=QQ", data)
        size = 1 << (register_id >> 52 & 15)
        if number == live._SET_ONE_REG:
            return told(vcpu.set(register_id, ctypes.string_at(address, size)))
        found = vcpu.get(register_id)
        if found.accepted:
            ctypes.memmove(address, found.image, size)
        return told(found)

    def _list(self, vcpu: Vcpu, data: bytearray) -> int:
        listed = vcpu.reg_list()
        told(listed)
        registers = struct.unpack(f"={len(listed.image) // 8}Q", listed.image)
        room = struct.unpack_from("=Q", data)[0]
        struct.pack_into("=Q", data, 0, len(registers))
        if room < len(registers):
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        struct.pack_into(f"={len(registers)}Q", data, 8, *registers)
        return 0


def told(outcome: Outcome) -> int:
    if not outcome.accepted:
        raise OSError(outcome.code, os.strerror(outcome.code))
    return 0


def played(name: str) -> tuple[PlayedKvm, Host, Host]:
    """A KVM that answers as a known host does: it, the known host, and the host that was made from it."""
    known = host_of_word(name)
    kvm = PlayedKvm(known)
    found = LiveKvm(os.devnull, kvm.ioctl, "aarch64", kvm.closed.append)
    return kvm, known, found.host(f"{known.kernel.name}.0")


@pytest.mark.parametrize("name", ["neoverse-v1", "max@6.12", "cortex-a57", "neoverse-v1@6.1", "max,nested=on"])
def test_a_host_is_made_from_it(name: str) -> None:
    _, known, found = played(name)
    assert found.kernel is known.kernel
    assert found.sve_vqs == known.sve_vqs
    assert (found.name, found.features) == ("kvm:", known.features)
    assert found.limits.keys() == known.kernel.registers.keys()
    assert {X0, sysreg_id(MPIDR), CCSIDR} < found.registers.keys()
    assert not {sysreg_id(one) for one in found.limits} & found.registers.keys()
    features = known.features & ~2
    for encoding in found.limits:
        if encoding != CLIDR and not known.reads_as_zero(encoding, features):
            assert found.limit(encoding, features) == known.limit(encoding, features), hex(encoding)
            assert found.mask(encoding) == known.mask(encoding)


@pytest.mark.parametrize("name", ["neoverse-v1", "neoverse-n1@6.12"])
def test_its_kernel_answers_for_the_scratch_vcpu(name: str) -> None:
    kvm, known, found = played(name)
    for model in named_models().values():
        real = realize(request(model, NONE, found), found)
        simulated = realize(request(model, NONE, known), known)
        assert real.usable == simulated.usable, model.name
        names = [write.outcome.name for write in real.writes]
        assert names == [write.outcome.name for write in simulated.writes], model.name
        for register, value in realization_json("", simulated)["registers"].items():
            assert realization_json("", real)["registers"][register] == value
    assert all("of this machine" in write.outcome.source for write in real.writes)
    del real
    assert len(kvm.closed) == len(kvm.files)


@pytest.mark.parametrize(
    ("name", "imp", "steps"),
    [
        ("neoverse-n1@6.18", True, ["KVM_ENABLE_CAP KVM_CAP_ARM_WRITABLE_IMP_ID_REGS"]),
        ("neoverse-n1@6.18", False, []),
        ("neoverse-n1@6.12", True, []),
    ],
)
def test_the_identity_is_made_writable_where_the_kernel_lets(name: str, imp: bool, steps: list[str]) -> None:
    vcpu = played(name)[2].vcpu(PSCI_0_2, writable_imp=imp)
    assert [step.event for step in vcpu.steps] == [*steps, "KVM_CREATE_VCPU 0", "KVM_ARM_VCPU_INIT 0x4"]


def test_masks_are_the_kernels_own(monkeypatch: pytest.MonkeyPatch) -> None:
    kvm, known, _ = played("neoverse-n1")
    live_kvm = LiveKvm(os.devnull, kvm.ioctl, "aarch64")
    known.masks = {PFR0: 0xF0}
    assert live_kvm.masks() == {PFR0: 0xF0}
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", "6.18.3", "y", "aarch64")))
    found = live_kvm.host()
    assert (found.kernel.name, found.masks) == ("6.18", {PFR0: 0xF0})
    assert live_kvm.asked_masks(reserved=1) == (errno.EINVAL, {})
    assert played("neoverse-n1@6.1")[2].masks is None


def test_answers_of_the_kernel() -> None:
    kvm, _, found = played("cortex-a57@6.1")
    vcpu = found.vcpu(PSCI_0_2, writable_imp=False)
    assert [step.outcome.image for step in vcpu.steps] == [b"", b""]
    refused, taken = vcpu.set(sysreg_id(PFR0), bytes(8)), vcpu.get(sysreg_id(PFR0))
    assert answer(refused) == "EINVAL"
    assert (answer(taken), len(taken.image)) == ("ok", 8)
    # As libc has it where the ioctl is refused.
    assert found.kvm.extension(SVE_CAPABILITY, vcpu.vm) == 0
    assert found.kvm.extension(SVE_CAPABILITY, min(kvm.files) - 1) == -1


def test_the_device_that_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, int]] = []
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "x", "7.2.0", "y", "aarch64")))
    monkeypatch.setattr(os, "open", lambda path, flags: opened.append((path, flags)) or 3)
    assert LiveKvm().file == 3
    assert opened == [("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)]


def test_accepted_values_are_asked_of_it() -> None:
    _, known, found = played("neoverse-v1")
    for real, simulated in zip(on_host(found, SVE), on_host(known, SVE), strict=True):
        assert real.values == simulated.values, real.entry.name


def test_a_guest_arrives_on_it_and_leaves_it() -> None:
    _, known, found = played("neoverse-v1")
    vcpu, _ = ask(request(None, NONE, found), found)
    state = state_of_scratch(vcpu, "live")
    assert state.vqs == known.sve_vqs
    assert migrate(state, found).accepted
    assert migrate(state, known).accepted


def test_no_kvm_is_said_in_one_line(tmp_path: str) -> None:
    with pytest.raises(LiveError, match="this machine is x86_64"):
        LiveKvm(machine="x86_64")
    with pytest.raises(LiveError, match="No such file"):
        LiveKvm(f"{tmp_path}/kvm", machine="aarch64")


@pytest.mark.skipif(platform.machine() == "aarch64", reason="this machine may have the KVM that is refused here")
def test_kvm_on_another_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "check", "neoverse-v1-v1", "--host", "kvm:"]) == 3
    assert "expected the KVM of an arm64 machine, found this machine is" in capsys.readouterr().err


@pytest.mark.skipif(
    platform.machine() != "aarch64" or not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no arm64 KVM"
)
def test_the_real_one_agrees_with_the_prediction() -> None:
    host = LiveKvm().host()
    for model in named_models().values():
        assert realize(request(model, NONE, host), host).agree, model.name


@pytest.mark.parametrize("name", ["neoverse-v1", "cortex-a57@6.1"])
def test_a_recording_of_it_is_verified(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kvm, known, _ = played(name)
    system = os.uname_result(("Linux", "x", f"{known.kernel.name}.0", "y", "aarch64"))
    monkeypatch.setattr(os, "uname", lambda: system)
    monkeypatch.setattr(recorder_arm64, "SWEPT", ("base",))
    monkeypatch.setattr(kvm_arm64, "LiveKvm", lambda: LiveKvm(os.devnull, kvm.ioctl, "aarch64", kvm.closed.append))
    path = tmp_path / "mine.jsonl"
    assert main(["record", "kvm:", "-o", str(path)]) == 0
    assert "records of Linux" in capsys.readouterr().out
    kinds = {json.loads(line)["t"] for line in path.read_text().splitlines()}
    assert {"uname", "cap", "masks", "maskbad", "feat", "reglist", "reg", "badid", "idreg", "midr"} <= kinds
    assert ("vls_ok" in kinds) == bool(known.features & SVE)
    # The simulated machine answered, so all of it agrees; what the file itself tells of the host is not asked.
    assert main(["verify", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"] > 15000
    assert found["by_kind"]["reglist"][0] == found["by_kind"]["reglist"][1] > 0
