"""Section ``misc``: TSC and clock, guest debugging, KVM_ENABLE_CAP, interrupt controllers and PIT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from inspector.machine.answer import Agreed, Answer, NotAsked, unknown
from inspector.machine.outcome import Outcome
from inspector.machine.x86.kvm import clock, irqchip
from inspector.machine.x86.kvm.capabilities import check_extension
from inspector.machine.x86.kvm.enable_cap import enable_vcpu_cap, enable_vm_cap
from inspector.machine.x86.kvm.guest_debug import set_guest_debug
from inspector.machine.x86.kvm.pending import VcpuEvents
from inspector.machine.x86.kvm.whole import VmConfig
from inspector.machine.x86.replay.restore import one_reg
from inspector.machine.x86.replay.restore.bench import Bench, Record
from inspector.machine.x86.replay.restore.structures import answer
from inspector.machine.x86.replay.restore.sweeps import char_of_errno, compare, shortened
from layouts.light import partial

Found = Iterator[Answer | Agreed | NotAsked]
_CAPS = 261
#: args[0] and flags of the four tries, and as they are recorded.
_TRIES = ((0, 0), (1, 0), ((1 << 64) - 1, 0), (0, 1))
_ARGS = [0, 1, "~0", "0 flags=1"]
_INJECT_DB, _INJECT_BP = 1 | 1 << 18, 1 | 1 << 19
_ADJUST_CLOCK, _TSC_CONTROL = 39, 60


def replay(bench: Bench, records: Sequence[Record]) -> Found:
    """The answers of a section."""
    has_list = any(record["op"] == "reglist" for record in records)
    for record in records:
        op = record["op"]
        if op == "mk":
            bench.make(record)
        elif op == "reglist":
            yield from one_reg.replay(bench, records)
        elif op in KINDS:
            yield from KINDS[op](bench, record)
        elif op != "onereg" or not has_list:
            yield unknown(f"misc.{op}")


def _tsc_control(bench: Bench, record: Record) -> Found:
    yield answer("misc.tscctl", "TSC_CONTROL", record["cap60"], check_extension(bench.kvm).get(_TSC_CONTROL, 0))


def _clock(bench: Bench, record: Record) -> Found:
    """A VM that has not run has no master clock yet (kvm_track_tsc_matching only asks for it)."""
    expected = [record["ge"], record["flags"], record["cap"]]
    yield answer("misc.clock", "KVM_GET_CLOCK", expected, [0, 0, check_extension(bench.kvm)[_ADJUST_CLOCK]])


def _clock_flags(bench: Bench, record: Record) -> Found:
    outcomes = [clock.set_clock(bench.kvm, 1 << bit) for bit in range(32)]
    yield from _chars("misc.setclock_flags", "each flag", record["s"], outcomes)


def _set_clock(bench: Bench, record: Record) -> Found:
    flags = record.get("flags", 0)
    outcome = clock.set_clock(bench.kvm, flags)
    text = f"flags {flags} {record.get('w', '')}"
    yield answer("misc.setclock", text, record["e"], outcome.code, outcome.because, accepted=not record["e"])


def _clock_control(bench: Bench, record: Record) -> Found:
    outcome = clock.kvmclock_ctrl(bench.vcpu)
    yield answer("misc.kvmclock_ctrl", "", record["e"], outcome.code, outcome.because, accepted=not record["e"])


def _guest_debug(bench: Bench, record: Record) -> Found:
    for key, more in (("bit", 0), ("enable_and_bit", 1)):
        outcomes = [set_guest_debug(bench.vcpu, more | 1 << bit) for bit in range(32)]
        yield from _chars("misc.guest_debug", key, record[key], outcomes)


def _interrupt(bench: Bench, record: Record) -> Found:
    """KVM_NMI and KVM_SMI are taken by any vCPU."""
    outcome = irqchip.interrupt(bench.vcpu.vm, 0x30)
    expected = [record["e"], record["nmi"], record["smi"]]
    yield answer("misc.interrupt", "KVM_INTERRUPT, NMI, SMI", expected, [outcome.code, 0, 0], outcome.because)


def _chars(kind: str, text: str, recorded: str, outcomes: Sequence[Outcome]) -> Found:
    mine = "".join(char_of_errno(outcome.code) for outcome in outcomes)
    yield from compare(kind, text, recorded, mine, [outcome.because for outcome in outcomes])


def _tsc_khz(bench: Bench, record: Record) -> Found:
    """What the recorder tries, by its words; afterwards it sets the host's frequency again."""
    vcpu = bench.vcpu
    host = vcpu.kvm.processor.tsc_khz
    word = record["w"]
    special = {
        "0": 0,
        "same": host,
        "x2": 2 * host,
        "/2": host // 2,
        "1": 1,
        "2^31": 1 << 31,
        "2^32-1": (1 << 32) - 1,
        "2^32": 1 << 32,
        "+10%": host + host // 10,
        "-10%": host - host // 10,
    }
    if word in special:
        asked = special[word]
    else:
        asked = host + (1 if word[0] == "+" else -1) * (host * int(word[1:-3]) // 1_000_000)
    if record["fd"] == "vcpu":
        outcome = clock.set_tsc_khz(vcpu, asked)
    else:
        outcome = clock.set_vm_tsc_khz(vcpu.kvm, asked, has_vcpus=True)
    # The recorder compares as int.
    mine = [outcome.code, int(vcpu.tsc_khz == asked & 0xFFFFFFFF), int(vcpu.tsc_khz == host)]
    clock.set_tsc_khz(vcpu, host)
    expected = [record["e"], record["eq_req"], record["eq_host"]]
    text = f"{record['fd']} {word}"
    yield answer("misc.settsckhz", text, expected, mine, outcome.because, accepted=not record["e"])


def _debug_pending(bench: Bench, record: Record) -> Found:
    """An injected exception, then #DB and #BP by KVM_SET_GUEST_DEBUG."""
    vcpu = bench.vcpu
    vcpu.pending.set(VcpuEvents(injected=1).image())
    for key, control in (("db", _INJECT_DB), ("bp", _INJECT_BP)):
        outcome = set_guest_debug(vcpu, control)
        yield answer(
            "misc.guest_debug_pending", key, record[key], outcome.code, outcome.because, accepted=not record[key]
        )


def _capabilities(bench: Bench, record: Record) -> Found:
    """KVM_ENABLE_CAP of each number; the recorder leaves out those that always give EINVAL."""
    if record["args0"] != _ARGS:
        raise ValueError(f"KVM_ENABLE_CAP with args[0] {record['args0']}")
    tries = {"vcpu": _on_vcpu, "vm_before_vcpu": _before_vcpu, "vm_after_vcpu": _after_vcpu}[record["fd"]](bench)
    for cap in sorted({*range(_CAPS), *map(int, record["v"])}):
        recorded = record["v"].get(str(cap), "iiii")
        outcomes = [tries(cap, at, arg, flags) for at, (arg, flags) in enumerate(_TRIES)]
        mine = "".join(char_of_errno(outcome.code) for outcome in outcomes)
        text = f"{record['fd']} cap {cap}"
        yield from compare("misc.encaps", text, shortened(recorded), mine, [outcome.because for outcome in outcomes])


Try = Callable[[int, int, int, int], Outcome]


def _on_vcpu(bench: Bench) -> Try:
    vcpu = bench.fresh(1, "sup")
    return lambda cap, _at, arg, flags: enable_vcpu_cap(vcpu, cap, arg, flags)


def _after_vcpu(bench: Bench) -> Try:
    """A VM of its own for each capability."""
    made: dict[int, VmConfig] = {}

    def attempt(cap: int, at: int, arg: int, flags: int) -> Outcome:
        if at == 0:
            made[cap] = VmConfig(1)
        return enable_vm_cap(bench.kvm, made[cap], cap, arg, flags)

    return attempt


def _before_vcpu(bench: Bench) -> Try:
    """A VM without vCPUs and interrupt controllers, a new one after each capability that was taken."""
    fresh = partial(VmConfig, 0, vcpu_ids=())
    vms = [fresh()]

    def attempt(cap: int, _at: int, arg: int, flags: int) -> Outcome:
        outcome = enable_vm_cap(bench.kvm, vms[0], cap, arg, flags)
        if outcome.accepted:
            vms[0] = fresh()
        return outcome

    return attempt


def _irqchip(bench: Bench, record: Record) -> Found:
    outcome = irqchip.use_irqchip(bench.vcpu.vm, record["id"])
    text = f"chip {record['id']}"
    accepted = not record["e"]
    mine = [outcome.code, outcome.code]
    yield answer("misc.irqchip", text, [record["ge"], record["e"]], mine, outcome.because, accepted=accepted)
    if "hex" in record:
        state = irqchip.fresh_irqchip(record["id"]) if outcome.accepted else b""
        yield answer("misc.irqchip", f"{text} fresh", record["hex"], state.hex())


def _pit(bench: Bench, record: Record) -> Found:
    created = irqchip.create_pit2(bench.kvm, bench.vcpu.vm)
    used = irqchip.use_pit2(has_pit=created.accepted)
    expected = [record["create"], record["get"], record["set"]]
    mine = [created.code, used.code, used.code]
    yield answer("misc.pit2", "KVM_CREATE_PIT2", expected, mine, created.because, accepted=not record["create"])


#: By kind of record.
KINDS: dict[str, Callable[[Bench, Record], Found]] = {
    "tscctl": _tsc_control,
    "settsckhz": _tsc_khz,
    "clock": _clock,
    "setclock_flags": _clock_flags,
    "setclock": _set_clock,
    "kvmclock_ctrl": _clock_control,
    "guest_debug": _guest_debug,
    "guest_debug_pending": _debug_pending,
    "encaps": _capabilities,
    "irqchip": _irqchip,
    "pit2": _pit,
    "interrupt": _interrupt,
}
