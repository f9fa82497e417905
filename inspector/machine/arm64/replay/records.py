"""Recorded answers of KVM/arm64: one function a kind of record (docs/arm64-machine.md lists them)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from inspector.machine.answer import Agreed, Answer, NotAsked, RecordError, text_of
from inspector.machine.arm64 import sve
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.capabilities import check_extension
from inspector.machine.arm64.host import PSCI_0_2, PTRAUTH, SVE, Host
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.replay.hosts import CONFIGURATIONS, bare_of, host_of_records, host_of_sequences, kernel_of
from inspector.machine.arm64.replay.id_registers import Counted, Found, IdRegisters, Record, fresh
from inspector.machine.arm64.replay.sequence import replay_sequence
from inspector.machine.arm64.vcpu import MMIO, Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Outcome
from layouts.arm64 import id_fields as of
from layouts.arm64.hosts import encoding_of_text
from layouts.arm64.ids import MIDR, PFR0, SVE_FFR, SVE_P0, SVE_STEP, SVE_VLS, SVE_Z0, ZFR0, sysreg_id

_SUBSETS = 1 << 16


class Hosted(NamedTuple):
    """The host of a file. ``recalled``: it is what the file itself shows, so that its values prove nothing."""

    host: Host
    recalled: bool


def hosted(file: str, records: Sequence[Record]) -> Hosted:
    """From the bare registers of the CPU that the file's name has, else from its records."""
    bare = bare_of(file)
    if bare is not None:
        return Hosted(from_bare(kernel_of(records), [bare]), recalled=False)
    if any(record["t"] == "seq" for record in records):
        return Hosted(host_of_sequences(records), recalled=True)
    return Hosted(host_of_records(records, measured=False), recalled=True)


def replay(made: Hosted, records: Sequence[Record]) -> Iterator[Counted]:
    """Every answer of a file. Raises RecordError at a record of a kind that nobody knows."""
    asked = _Replay(made, records)
    kinds = asked.kinds()
    recalled = RECALLED if made.recalled else frozenset()
    for record in records:
        kind = record["t"]
        if kind == "seq":
            yield from replay_sequence(made.host, record, recalled=made.recalled)
        elif kind == "idreg":
            yield from asked.ids.idreg(record)
        elif kind in recalled:
            yield NotAsked(kind, causes.RECALLED, 1)
        elif kind in kinds:
            for found in kinds[kind](record):
                yield _counted(record, found)
        elif kind not in DESCRIPTIONS:
            raise RecordError(f"a record of the unknown kind {kind!r}")
    yield from asked.vls_subsets()


def _counted(record: Record, found: Found | str) -> Counted:
    """One answer of a record, or why it is not asked."""
    kind = record["t"]
    if isinstance(found, str):
        return NotAsked(kind, found, 1)
    expected, predicted, accepted, because = found
    if expected == predicted:
        return Agreed(kind, int(accepted), int(not accepted))
    return Answer(kind, text_of(record), expected, predicted, accepted, because)


#: Kinds that say nothing where the host is what the file shows.
RECALLED = frozenset(("reg", "feat", "midr", "cap", "mask", "vls", "sve"))
#: What describes the host or the recording; ``vls_ok`` and ``vls_hist`` are answers that count together at the end.
DESCRIPTIONS = frozenset(("uname", "api", "cpuinfo", "vls_ok", "vls_hist"))
_MASKS = [f"3_{op1}_0_{crm}_{op2}" for op1 in (0, 1, 3) for crm in range(8) for op2 in range(8)]


class _Replay:
    """The VMs that records are about: each kind has a fresh one unless it says otherwise."""

    def __init__(self, made: Hosted, records: Sequence[Record]) -> None:
        self.host, self.recalled = made
        self.vls_ok = {int(record["vqs"], 16) for record in records if record["t"] == "vls_ok"}
        #: How many sets got which errno.
        self.vls_hist = {record["err"]: record["n"] for record in records if record["t"] == "vls_hist"}
        self.masks = {record["reg"] for record in records if record["t"] == "mask"}
        self.ids = IdRegisters(made.host, recalled=made.recalled)
        self._running: Vm | None = None

    def kinds(self) -> dict[str, Callable[[Record], Iterator[Found | str] | Iterator[Found]]]:
        """The functions by kind of record."""
        return {
            "cap": self._cap,
            "masks": self._masks,
            "reglist": self._reglist,
            "maskbad": self._maskbad,
            "mask": self._mask,
            "feat": self._feat,
            "reg": self._reg,
            "badid": self._badid,
            "finalize_nosve": self._finalize_nosve,
            "sve": self._sve_init,
            "vls": self._vls,
            "sve_prefin": self._sve_prefin,
            "run_prefin": self._run_prefin,
            "vls_vq17": self._vls_vq17,
            "vls_set_def": self._vls_set_def,
            "z5rw": self._slice,
            "p3rw": self._slice,
            "ffrrw": self._slice,
            "sveid": self._sveid,
            "vlmax": self._vlmax,
            "idw": self.ids.idw,
            "impcap": self._impcap,
            "vmwide": self._vmwide,
            "run": self._run,
            "afterrun": self._afterrun,
            "midr": self._midr,
        }

    def _vcpu(self, features: int = PSCI_0_2, number: int = 0, vm: Vm | None = None) -> Vcpu:
        return fresh(vm or Vm(self.host), features, number)

    def _cap(self, record: Record) -> Iterator[Found]:
        predicted = check_extension(self.host, record["n"], of_vm=True)
        yield record["vm"], predicted, record["vm"] > 0, "KVM_CHECK_EXTENSION"

    def _masks(self, record: Record) -> Iterator[Found | str]:
        outcome = Vm(self.host).writable_masks()
        yield record["err"], outcome.code, record["err"] == 0, outcome.because
        if record["err"] == 0:
            # The recorder leaves out the entries that are 0.
            for name in _MASKS:
                mask = self.host.mask(encoding_of_text(name))
                if name not in self.masks:
                    found = f"{0:016x}", f"{mask:016x}", True, f"{name} is not listed"
                    yield causes.RECALLED if self.recalled else found

    def _maskbad(self, record: Record) -> Iterator[Found]:
        vm = Vm(self.host)
        found = [vm.writable_masks(range_number=1).code, vm.writable_masks(reserved=1).code]
        yield [record["range1"], record["reserved1"]], found, False, "the range and reserved words are 0"

    def _mask(self, record: Record) -> Iterator[Found]:
        mine = self.host.mask(encoding_of_text(record["reg"]))
        yield record["mask"], f"{mine:016x}", True, "kvm_vm_ioctl_get_reg_writable_masks"

    def _impcap(self, record: Record) -> Iterator[Found]:
        outcome = Vm(self.host).enable_imp_id_regs()
        yield record["errno"], outcome.code, record["errno"] == 0, outcome.because

    # Lifecycle

    def _feat(self, record: Record) -> Iterator[Found]:
        features = PSCI_0_2 | (1 << record["bit"] if "bit" in record else PTRAUTH)
        vm = Vm(self.host)
        vm.create_vcpu(0)
        outcome = vm.vcpus[0].init(features)
        yield record["err"], outcome.code, record["err"] == 0, outcome.because

    def _reg(self, record: Record) -> Iterator[Found | str]:
        """A register as a fresh vCPU has it; the recorder had written nothing."""
        vcpu = self._vcpu(CONFIGURATIONS[record["cfg"]])
        vcpu.sve_finalized = vcpu.has_sve
        register_id = int(record["id"], 16)
        because = causes.of(vcpu, register_id)
        if because:
            yield because
            return
        outcome = vcpu.get(register_id)
        found = outcome.image.hex() if outcome.accepted else outcome.code
        yield record["le"] if record["err"] == 0 else record["err"], found, record["err"] == 0, outcome.because

    def _reglist(self, record: Record) -> Iterator[Found]:
        """How many registers a fresh vCPU has."""
        vcpu = self._vcpu(CONFIGURATIONS[record["cfg"]])
        vcpu.sve_finalized = vcpu.has_sve
        outcome = vcpu.reg_list()
        yield record["err"], outcome.code, record["err"] == 0, outcome.because
        if outcome.accepted:
            yield record["n"], outcome.value, True, outcome.because

    def _badid(self, record: Record) -> Iterator[Found]:
        vcpu = self._vcpu()
        yield from self._both(vcpu, record)

    def _both(self, vcpu: Vcpu, record: Record) -> Iterator[Found]:
        register_id = int(record["id"], 16)
        got = vcpu.get(register_id)
        data = got.image if got.accepted else bytes(256)
        for name, outcome in (("get", got), ("set", vcpu.set(register_id, data))):
            yield record[name], outcome.code, record[name] == 0, outcome.because

    def _finalize_nosve(self, record: Record) -> Iterator[Found]:
        outcome = self._vcpu().finalize(4)
        yield record["err"], outcome.code, False, outcome.because

    def _sve(self) -> Vcpu:
        return self._vcpu(PSCI_0_2 | SVE)

    def _sve_init(self, record: Record) -> Iterator[Found]:
        vm = Vm(self.host)
        vm.create_vcpu(0)
        outcome = vm.vcpus[0].init(PSCI_0_2 | SVE)
        yield record["init"], outcome.code, record["init"] == 0, outcome.because

    def _sve_prefin(self, record: Record) -> Iterator[Found]:
        vcpu = self._sve()
        predicted = [vcpu.get(SVE_Z0).code, vcpu.set(SVE_Z0, bytes(256)).code, vcpu.reg_list().code]
        yield [record["get_z0"], record["set_z0"], record["list_err"]], predicted, False, "kvm_arm_vcpu_is_finalized"

    def _run_prefin(self, record: Record) -> Iterator[Found]:
        outcome = self._sve().run()
        yield record["err"], outcome.code, False, outcome.because

    def _set_vls(self, vcpu: Vcpu, vqs: int) -> Outcome:
        return vcpu.set(SVE_VLS, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))

    def _vls(self, record: Record) -> Iterator[Found]:
        """The lengths of a vCPU that was not told any."""
        got = self._sve().get(SVE_VLS)
        yield [record["err"], record["vqs"]], [got.code, f"{got.value:x}"], record["err"] == 0, got.because

    def vls_subsets(self) -> Iterator[Counted]:
        """All 65,536 sets of vq 1 to 16: those that are accepted, and which errno the others get."""
        theirs = self.vls_ok
        if not theirs and not self.vls_hist:
            return
        host_vqs = self.host.sve_vqs
        mine = sve.accepted_vls(host_vqs)
        yield Agreed("vls", len(theirs & mine), _SUBSETS - len(theirs | mine))
        for vqs in sorted(theirs ^ mine):
            because = sve.check_vls(vqs, host_vqs).because
            yield Answer("vls", f"vqs {vqs:x}", vqs in theirs, vqs in mine, vqs in theirs, because)
        refused = sve.check_vls(0, host_vqs)
        of_each = {0: len(theirs), refused.code: _SUBSETS - len(theirs)}
        if self.vls_hist != of_each:
            yield Answer("vls", "vls_hist", self.vls_hist, of_each, accepted=False, because=refused.because)

    def _vls_vq17(self, record: Record) -> Iterator[Found]:
        for name, vq in (("err", 17), ("vq512", 512)):
            outcome = self._set_vls(self._sve(), 1 << (vq - 1) | self.host.sve_vqs)
            yield record[name], outcome.code, record[name] == 0, outcome.because

    def _vls_set_def(self, record: Record) -> Iterator[Found]:
        vcpu = self._sve()
        first = self._set_vls(vcpu, self.host.sve_vqs)
        finals = [vcpu.finalize(4).code, vcpu.finalize(4).code]
        after = self._set_vls(vcpu, self.host.sve_vqs)
        got = vcpu.get(SVE_VLS)
        expected = [record[name] for name in ("err", "finalize", "again", "set_after", "get_after", "vqs")]
        yield expected, [first.code, *finals, after.code, got.code, f"{got.value:x}"], True, "set_sve_vls"

    def _slice(self, record: Record) -> Iterator[Found]:
        """What the recorder wrote: byte j of Z5 is j, of P3 0xa0 + j, of FFR 0xff."""
        names = {
            "z5rw": (SVE_Z0 + 5 * SVE_STEP, bytes(range(256))),
            "p3rw": (SVE_P0 + 3 * SVE_STEP, bytes(0xA0 + at for at in range(32))),
            "ffrrw": (SVE_FFR, b"\xff" * 32),
        }
        register_id, data = names[record["t"]]
        vcpu = self._sve()
        vcpu.finalize(4)
        put, got = vcpu.set(register_id, data), vcpu.get(register_id)
        yield [record["set"], record["get"], record["le"]], [put.code, got.code, got.image.hex()], True, "set_sve_reg"

    def _sveid(self, record: Record) -> Iterator[Found]:
        vcpu = self._sve()
        vcpu.finalize(4)
        yield from self._both(vcpu, record)

    def _vlmax(self, record: Record) -> Iterator[Found]:
        """The host's lengths up to one, then ID_AA64ZFR0_EL1, and Z0 written in full; some recorders tell Z0 alone."""
        vcpu = self._sve()
        put = self._set_vls(vcpu, self.host.sve_vqs & ((1 << record["vq"]) - 1))
        yield record["set"], put.code, record["set"] == 0, put.because
        if record["set"] == 0 and put.accepted:
            final, id_register = vcpu.finalize(4), vcpu.get(sysreg_id(ZFR0))
            put, got = vcpu.set(SVE_Z0, b"\x5a" * 256), vcpu.get(SVE_Z0)
            for name, outcome in (("fin", final), ("ez", id_register), ("setz", put), ("getz", got)):
                if name in record:
                    yield record[name], outcome.code, record[name] == 0, outcome.because
            if "zfr0" in record:
                yield record["zfr0"], f"{id_register.value:x}", True, "get_id_reg"
            yield record.get("z0"), got.image.hex(), True, "set_sve_reg"

    # Scope and immutability

    def _vmwide(self, record: Record) -> Iterator[Found]:
        """What one vCPU writes another reads: PFR0 as recorded."""
        vm = Vm(self.host)
        one, other = self._vcpu(vm=vm), self._vcpu(number=1, vm=vm)
        put = one.set(sysreg_id(PFR0), int(record["wrote"], 16).to_bytes(8, "little"))
        got = other.get(sysreg_id(PFR0))
        yield [record["set"], record["other"]], [put.code, f"{got.value:016x}"], record["set"] == 0, put.because

    def _run(self, record: Record) -> Iterator[Found]:
        vm = Vm(self.host)
        vcpu = self._vcpu(vm=vm)
        self._vcpu(number=1, vm=vm)
        outcome = vcpu.run()
        self._running = vm
        yield record["exit"], outcome.value, record["exit"] == MMIO, outcome.because

    def _afterrun(self, record: Record) -> Iterator[Found]:
        """The host's PFR0; without CSV2, which may be no change, by the vCPU that ran and by the other."""
        vm = self._running
        if vm is None:
            raise RecordError("writes after a run that was not recorded")
        before = self.host.limit(PFR0, PSCI_0_2)
        lower = of.PFR0_CSV2.put(before, 0)
        for name, number, value in (("same", 0, before), ("diff", 0, lower), ("other_vcpu", 1, lower)):
            outcome = vm.vcpus[number].set(sysreg_id(PFR0), value.to_bytes(8, "little"))
            yield record[name], outcome.code, record[name] == 0, outcome.because

    def _midr(self, record: Record) -> Iterator[Found]:
        vcpu = self._vcpu()
        value = int(record["v"], 16)
        got = vcpu.get(sysreg_id(MIDR))
        yield [record["get"], record["v"]], [got.code, f"{got.value:x}"], True, "get_id_reg"
        for name, wanted in (("setsame", value), ("setdiff", value ^ 1)):
            outcome = vcpu.set(sysreg_id(MIDR), wanted.to_bytes(8, "little"))
            yield record[name], outcome.code, record[name] == 0, outcome.because
