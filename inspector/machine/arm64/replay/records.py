"""Recorded answers of KVM/arm64: one function a kind of record (docs/arm64-machine.md lists them)."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from inspector.machine.answer import Agreed, Answer, NotAsked, text_of
from inspector.machine.arm64 import idregs, sve
from inspector.machine.arm64.bare import from_bare
from inspector.machine.arm64.capabilities import check_extension
from inspector.machine.arm64.host import PSCI_0_2, SVE, Host
from inspector.machine.arm64.replay import causes
from inspector.machine.arm64.replay.hosts import CONFIGURATIONS, bare_of, host_of_records, host_of_sequences, kernel_of
from inspector.machine.arm64.replay.sequence import replay_sequence
from inspector.machine.arm64.vcpu import MMIO, Vcpu
from inspector.machine.arm64.vm import Vm
from inspector.machine.outcome import Outcome
from layouts.arm64 import id_fields as of
from layouts.arm64.hosts import encoding_of_text
from layouts.arm64.ids import MIDR, MPIDR, PFR0, SVE_FFR, SVE_P0, SVE_STEP, SVE_VLS, SVE_Z0, sysreg_id

Record = dict[str, Any]
Found = tuple[object, object, bool, str]
_SUBSETS = 1 << 16
_DEPENDS = "depends"


Counted = Answer | Agreed | NotAsked


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
    """Every answer of a file."""
    host = made.host
    if any(record["t"] == "seq" for record in records):
        for record in records:
            if record["t"] == "seq":
                yield from replay_sequence(host, record, recalled=made.recalled)
        return
    found = _Replay(host, records)
    kinds = found.kinds()
    recalled = RECALLED if made.recalled else frozenset()
    for record in records:
        kind = record["t"]
        if kind == "idreg":
            yield from found.idreg(record)
        elif kind in recalled:
            yield NotAsked(kind, causes.RECALLED, 1)
        elif kind in kinds:
            text = text_of(record)
            for expected, predicted, accepted, because in kinds[kind](record):
                if because in causes.NOT_ASKED:
                    yield NotAsked(kind, because, 1)
                    continue
                yield Answer(kind, text, expected, predicted, accepted, because)
    yield from found.vls_subsets()


#: Kinds that say nothing where the host is what the file shows.
RECALLED = frozenset(("reg", "feat", "midr", "cap"))
_MASKS = [f"3_{op1}_0_{crm}_{op2}" for op1 in (0, 1, 3) for crm in range(8) for op2 in range(8)]


class _Replay:
    """The VMs that records are about: each kind has a fresh one unless it says otherwise."""

    def __init__(self, host: Host, records: Sequence[Record]) -> None:
        self.host = host
        self.vls_ok = {int(record["vqs"], 16) for record in records if record["t"] == "vls_ok"}
        self.has_vls = any(record["t"] == "vls_hist" for record in records)
        self.masks = {record["reg"] for record in records if record["t"] == "mask"}
        self._running: Vm | None = None
        #: What writes to ID registers came to, by all that they hang on.
        self._written: dict[tuple[object, ...], idregs.Written] = {}

    def kinds(self) -> dict[str, Callable[[Record], Iterator[Found]]]:
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
            "sve_prefin": self._sve_prefin,
            "run_prefin": self._run_prefin,
            "vls_vq17": self._vls_vq17,
            "vls_set_def": self._vls_set_def,
            "z5rw": self._slice,
            "p3rw": self._slice,
            "ffrrw": self._slice,
            "sveid": self._sveid,
            "vlmax": self._vlmax,
            "idw": self._idw,
            "impcap": self._impcap,
            "vmwide": self._vmwide,
            "run": self._run,
            "afterrun": self._afterrun,
            "midr": self._midr,
        }

    def _vcpu(self, features: int = PSCI_0_2, number: int = 0, vm: Vm | None = None) -> Vcpu:
        vm = vm or Vm(self.host)
        vm.create_vcpu(number)
        vcpu = vm.vcpus[number]
        vcpu.init(features)
        return vcpu

    # ID registers

    def idreg(self, record: Record) -> Iterator[Counted]:
        """256 answers: each nibble of the host's value with each value."""
        features = CONFIGURATIONS[record["cfg"]]
        encoding = encoding_of_text(record["reg"])
        current = int(record["host"], 16)
        imp = record["cfg"] == "imp"
        depends, agreed = 0, [0, 0]
        for nibble, answers in enumerate(record["nib"]):
            shift = 4 * nibble
            kept = current & ~(0xF << shift)
            for digit, expected in enumerate(answers):
                value = kept | digit << shift
                predicted, because = self._write(encoding, value, features, current, imp=imp)
                if predicted == expected:
                    agreed[isinstance(expected, int) and expected != 0] += 1
                    continue
                if predicted == _DEPENDS:
                    depends += 1
                    continue
                where = f"{record['cfg']} {record['reg']} bits {shift + 3}:{shift} = {digit:x}"
                yield Answer(
                    "idreg", where, expected, predicted, not isinstance(expected, int) or expected == 0, because
                )
        yield Agreed("idreg", *agreed)
        if depends:
            yield NotAsked("idreg", causes.HIDDEN, depends)

    def _write(
        self, encoding: int, value: int, features: int, current: int, *, imp: bool = False
    ) -> tuple[object, str]:
        """0, the value that it reads back as, or the errno; and why."""
        if encoding not in self.host.kernel.registers:
            # MPIDR_EL1 is each vCPU's own and takes anything.
            return 0 if encoding == MPIDR else errno.ENOENT, ""
        asked = idregs.IdWrite(self.host, encoding, value, features, current, writable_imp=imp)
        key = *idregs.hangs_on(asked), value
        written = self._written.get(key)
        if written is None:
            written = self._written[key] = idregs.write(asked)
        if written.outcome.verdict == "depends-on":
            return _DEPENDS, written.outcome.because
        if not written.outcome.accepted:
            return written.outcome.code, written.outcome.because
        return 0 if written.value == value else f"{written.value:016x}", written.outcome.because

    def _idw(self, record: Record) -> Iterator[Found]:
        features = CONFIGURATIONS[record["cfg"]]
        encoding, value = encoding_of_text(record["reg"]), int(record["w"], 16)
        imp = record["cfg"] == "imp"
        current = self.host.reset_value(encoding, features)
        predicted, because = self._write(encoding, value, features, current, imp=imp)
        if predicted == _DEPENDS:
            yield None, None, False, causes.HIDDEN
        elif isinstance(predicted, str):
            yield [record["err"], record["rb"]], [0, predicted], record["err"] == 0, because
        else:
            yield record["err"], predicted, record["err"] == 0, because

    def _cap(self, record: Record) -> Iterator[Found]:
        predicted = check_extension(self.host, record["n"], of_vm=True)
        yield record["vm"], predicted, record["vm"] > 0, "KVM_CHECK_EXTENSION"

    def _masks(self, record: Record) -> Iterator[Found]:
        outcome = Vm(self.host).writable_masks()
        yield record["err"], outcome.code, record["err"] == 0, outcome.because
        if record["err"] == 0:
            # The recorder leaves out the entries that are 0.
            for name in _MASKS:
                mask = self.host.mask(encoding_of_text(name))
                if name not in self.masks:
                    yield f"{0:016x}", f"{mask:016x}", True, f"{name} is not listed"

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
        features = PSCI_0_2 | (1 << record["bit"] if "bit" in record else 0x60)
        if record.get("bit") == 1:
            features = PSCI_0_2 | 2
        vm = Vm(self.host)
        vm.create_vcpu(0)
        outcome = vm.vcpus[0].init(features)
        yield record["err"], outcome.code, record["err"] == 0, outcome.because

    def _reg(self, record: Record) -> Iterator[Found]:
        """A register as a fresh vCPU has it; the recorder had written nothing."""
        vcpu = self._vcpu(CONFIGURATIONS[record["cfg"]])
        vcpu.sve_finalized = vcpu.has_sve
        register_id = int(record["id"], 16)
        because = causes.of(vcpu, register_id)
        if because:
            yield 0, 0, False, because
            return
        outcome = vcpu.get(register_id)
        found = outcome.image.hex() if outcome.accepted else outcome.name
        yield record["le"] if record["err"] == 0 else record["err"], found, record["err"] == 0, outcome.because

    def _reglist(self, record: Record) -> Iterator[Found]:
        """How many registers a fresh vCPU has."""
        vcpu = self._vcpu(CONFIGURATIONS[record["cfg"]])
        vcpu.sve_finalized = vcpu.has_sve
        outcome = vcpu.reg_list()
        yield record["err"], outcome.code, record["err"] == 0, outcome.because
        if outcome.accepted:
            yield record["n"], outcome.value, True, ""

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

    def _sve_prefin(self, record: Record) -> Iterator[Found]:
        vcpu = self._sve()
        predicted = [vcpu.get(SVE_Z0).code, vcpu.set(SVE_Z0, bytes(256)).code, vcpu.reg_list().code]
        yield [record["get_z0"], record["set_z0"], record["list_err"]], predicted, False, "kvm_arm_vcpu_is_finalized"

    def _run_prefin(self, record: Record) -> Iterator[Found]:
        outcome = self._sve().run()
        yield record["err"], outcome.code, False, outcome.because

    def _set_vls(self, vcpu: Vcpu, vqs: int) -> Outcome:
        return vcpu.set(SVE_VLS, vqs.to_bytes(sve.VLS_SIZE_BYTES, "little"))

    def vls_subsets(self) -> Iterator[Counted]:
        """All 65,536 sets of vq 1 to 16."""
        if not self.has_vls:
            return
        host_vqs = self.host.sve_vqs
        mine = sve.accepted_vls(host_vqs)
        theirs = {vqs for vqs in self.vls_ok if vqs < _SUBSETS}
        yield Agreed("vls", len(theirs & mine), _SUBSETS - len(theirs | mine))
        for vqs in sorted(theirs ^ mine):
            because = sve.check_vls(vqs, host_vqs).because
            yield Answer("vls", f"vqs {vqs:x}", vqs in theirs, vqs in mine, vqs in theirs, because)

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
        """The host's lengths up to one, then Z0 written in full."""
        vcpu = self._sve()
        put = self._set_vls(vcpu, self.host.sve_vqs & ((1 << record["vq"]) - 1))
        yield record["set"], put.code, record["set"] == 0, put.because
        if record["set"] == 0 and put.accepted:
            vcpu.finalize(4)
            vcpu.set(SVE_Z0, b"\x5a" * 256)
            got = vcpu.get(SVE_Z0)
            yield record["z0"], got.image.hex(), True, "set_sve_reg"

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
            return
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
