"""The verdict on an arm64 move: each thing in the way with who decided it, its use and its remedy, and all at once."""

from __future__ import annotations

from collections.abc import Mapping

from inspector.machine.arm64.captured import State
from inspector.machine.arm64.decided import Asked, decided, noticed, remedied, words_for
from inspector.machine.arm64.host import Host
from inspector.machine.arm64.migrate import Call, Migration, migrate
from inspector.machine.arm64.models.request import IDENTITY
from layouts.arm64.kernels import kernels
from layouts.arm64.kvm_ids import explain
from layouts.arm64.vmms import on_refusal
from layouts.light import NamedTuple, cached_property
from layouts.vmms import OnRefusal


class Bit(NamedTuple):
    """A field, feature or vector lengths in the way.

    ``rule`` says how guest and destination go together, ``by`` who decided and ``origin`` says it in words. ``noticed``
    is the evidence in the guest's state, empty where there is none; ``use`` the same in words, or why there is none.
    ``remedy`` are QEMU's words, empty where there are none or where they do not help.
    """

    asked: Asked
    rule: str
    by: str
    origin: str
    noticed: str
    use: str
    remedy: str


class Together(NamedTuple):
    """Every remedy at once: what is taken from the guest, QEMU's words, and the move of what is left."""

    bits: tuple[Asked, ...]
    line: str
    after: Migration

    @property
    def arrives(self) -> bool:
        """Nothing that is known of the destination is in the way any more."""
        return self.after.possible

    @property
    def still(self) -> tuple[str, ...]:
        """What is in the way all the same."""
        refused = [f"{call_name(step)}: {step.outcome}" for step in self.after.failures]
        return (*refused, *(f"{explain(one).path} is not in the destination's list" for one in self.after.unknown))


class Verdict:
    """A move and what is said of it. ``others``: the destination under other kernels, by release."""

    def __init__(self, made: Migration, others: Mapping[str, Host], *, abi: str, writable_imp: bool) -> None:
        self.made = made
        self._others = others
        self._abi = abi
        self._imp = writable_imp

    @cached_property
    def failures(self) -> tuple[Call, ...]:
        """The calls that are refused."""
        return tuple(self.made.failures)

    @property
    def verdict(self) -> str:
        """``arrives``, ``open`` or ``refused``."""
        made = self.made
        return "refused" if not made.possible else "open" if made.undecided or made.open else "arrives"

    @property
    def refusal(self) -> str:
        """What ends the migration: the first call that is refused, else the comparison of register lists."""
        made = self.made
        first = self.failures[0] if self.failures else None
        if first is not None and (not is_of_list(first) or not made.unknown):
            return call_name(first)
        return "register list" if made.unknown else ""

    @cached_property
    def bits(self) -> tuple[Bit, ...]:
        """Everything in the way, each once."""
        return tuple(self._bit(asked) for asked in Asked.of(self.made))

    def _bit(self, asked: Asked) -> Bit:
        made = self.made
        rule = "equal" if asked.place is not None and asked.place.encoding in IDENTITY else "at_most"
        remedy = "" if (asked.where, asked.name) in self._left else words_for(made, asked)
        return Bit(asked, rule, *decided(made, asked, self._others), *noticed(made.state, asked), remedy)

    @cached_property
    def _left(self) -> frozenset[tuple[str, str]]:
        """What is in the way with every remedy too."""
        after = self.together.after if self.together is not None else self.made
        return frozenset((one.where, one.name) for one in Asked.of(after))

    @cached_property
    def together(self) -> Together | None:
        """Every remedy at once; None where there is none."""
        taken, after = remedied(self.made, abi=self._abi, writable_imp=self._imp)
        if not taken:
            return None
        words = dict.fromkeys(words_for(self.made, one) for one in taken)
        return Together(tuple(taken), f"-cpu ...,{','.join(words)}", after)

    def kernels_that_take(self, call: Call) -> tuple[str, ...]:
        """The releases on the same machine that take a refused call, the oldest first."""
        return tuple(name for name, taken in self._taken.items() if _key(call) in taken)

    @cached_property
    def _taken(self) -> dict[str, frozenset[tuple[str, int]]]:
        """By release the refused calls that it takes."""
        state = _only(self.made.state, {call.register_id for call in self.failures})
        refused = {_key(call) for call in self.failures}
        found = {}
        for name in self._others:
            if self.made.host.kernel is kernels()[name]:
                # They are what it refused.
                continue
            other = self._others[name]
            after = migrate(state, other, abi=self._abi, writable_imp=self._imp)
            taken = {_key(step) for step in after.steps if step.outcome.accepted}
            found[name] = frozenset(refused & taken)
        return found


def _only(state: State, register_ids: set[int]) -> State:
    """The state with some registers alone; features and lengths, which come before them, are no registers."""
    return state._replace(registers={one: data for one, data in state.registers.items() if one in register_ids})


def _key(call: Call) -> tuple[str, int]:
    return call.event, call.register_id


def is_of_list(call: Call) -> bool:
    """The call sets a register of the list that moves; else it makes the vCPU."""
    return call.event == "KVM_SET_ONE_REG"


def call_name(call: Call) -> str:
    """A call with the register that it sets."""
    return f"{call.event} {explain(call.register_id).path}" if is_of_list(call) else call.event


def then(call: Call) -> OnRefusal:
    """What QEMU does with a refused call."""
    return on_refusal(of_list=is_of_list(call))
