"""Properties of ID-register writes: what is accepted reads back, and what is refused says by which rule."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from inspector.machine.arm64.host import PSCI_0_2, Host
from inspector.machine.arm64.id_limits import writable_fields
from layouts.arm64.ids import DFR0, MMFR2, PFR0, PFR1, sysreg_id
from layouts.arm64.kernels import FieldPolicy
from tests.machine.arm64 import as_vcpu, hosts, known_host, write


def _fields() -> list[tuple[Host, int, FieldPolicy]]:
    return [
        (host, encoding, policy)
        for host in hosts()
        if host.kernel.checks_features
        for encoding, register in host.kernel.registers.items()
        if register.kind == "writable" and not host.reads_as_zero(encoding, PSCI_0_2)
        for policy in writable_fields(host, encoding)
    ]


FIELDS = _fields()
#: Fields that KVM takes at some value and ignores.
IGNORED = {(PFR0, 40), (PFR1, 16), (MMFR2, 24), (DFR0, 8), (0xC00A, 24)}


@settings(max_examples=3000, deadline=None)
@given(st.sampled_from(FIELDS), st.integers(0, 15))
def test_an_accepted_value_reads_back(where: tuple[Host, int, FieldPolicy], number: int) -> None:
    host, encoding, policy = where
    vm, vcpu = as_vcpu(host)
    before = vm.id_registers[encoding]
    value = policy.put(before, number & ((1 << policy.width) - 1))
    answer = write(vcpu, encoding, value)
    if answer == "ok" and (encoding, policy.lsb) not in IGNORED:
        assert vm.id_registers[encoding] == value
    elif answer != "ok":
        assert vm.id_registers[encoding] == before


def test_lowering_a_lower_safe_field_is_accepted_or_the_rule_is_named() -> None:
    rules = set()
    for host, encoding, policy in FIELDS:
        if policy.policy != "lower":
            continue
        vm, vcpu = as_vcpu(host)
        limit = vm.id_registers[encoding]
        least = -(1 << (policy.width - 1)) if policy.signed else 0
        for number in range(least, policy.get(limit)):
            outcome = vcpu.set(sysreg_id(encoding), policy.put(limit, number).to_bytes(8, "little"))
            if not outcome.accepted:
                rules.add(outcome.because)
            else:
                write(vcpu, encoding, limit)
    assert (
        rules
        == {
            "EL0 is not 0",
            "EL1 is not 0",
            "DebugVer is at least 6 (Armv8)",
            "CopDbg is at least 6 (Armv8)",
            "PerfMon is 0 or at least 3 (PMUv3)",
            "L1Ip is VIPT or PIPT",
        }
        & rules
    )
    assert "DebugVer is at least 6 (Armv8)" in rules


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([known_host("neoverse-v1"), known_host("max"), known_host("neoverse-n1", "6.12")]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 15)), min_size=2, max_size=8),
    st.randoms(use_true_random=False),
)
def test_the_order_of_independent_writes_does_not_matter(
    host: Host, picks: list[tuple[int, int]], shuffled: random.Random
) -> None:
    mine = [
        (encoding, policy)
        for where, encoding, policy in FIELDS
        if (where.name, where.kernel) == (host.name, host.kernel)
    ]
    chosen = {mine[pick % len(mine)][0]: (mine[pick % len(mine)][1], number) for pick, number in picks}
    results = []
    for _ in range(2):
        order = list(chosen)
        shuffled.shuffle(order)
        vm, vcpu = as_vcpu(host)
        answers = {}
        for encoding in order:
            policy, number = chosen[encoding]
            value = policy.put(vm.id_registers[encoding], number & ((1 << policy.width) - 1))
            answers[encoding] = write(vcpu, encoding, value)
        results.append((answers, vm.id_registers))
    assert results[0] == results[1]
