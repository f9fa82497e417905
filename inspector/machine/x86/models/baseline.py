"""The best CPU for guests that run on all of some hosts: a named model, and what is switched over it.

A feature is in the baseline where every host is known to have it; what QEMU never takes of its own accord, and what
does not migrate, is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from inspector.machine.x86.models.expand import expand
from inspector.machine.x86.models.offer import Offer
from inspector.machine.x86.models.realize import Realization, realize
from inspector.machine.x86.models.request import Request, request
from layouts.light import NamedTuple
from layouts.x86.models.features import NOT_OF_ITSELF, UNMIGRATABLE, features
from layouts.x86.models.qemu import NEWEST, qemu_models

_PARAVIRTUAL = 0x40000001


class Ranked(NamedTuple):
    """A model on all hosts: what has to be switched off and may be switched on; ``realizations`` with that, by host.

    ``unknown`` are features of the model of which some host's record does not tell.
    """

    model: str
    removed: tuple[str, ...]
    added: tuple[str, ...]
    unknown: tuple[str, ...]
    request: Request
    realizations: tuple[Realization, ...]

    @property
    def usable(self) -> bool:
        """Whether the plain model is known to run on all."""
        return not (self.removed or self.unknown)

    @property
    def words(self) -> tuple[str, ...]:
        """``+x`` and ``-y`` over the model."""
        return (*(f"+{name}" for name in self.added), *(f"-{name}" for name in self.removed))


class Baseline(NamedTuple):
    """What all hosts have, what only some have, and the models, the best first."""

    common: frozenset[str]
    partial: dict[str, tuple[str, ...]]
    ranked: tuple[Ranked, ...]
    phys_bits: int


def baseline(offers: Sequence[Offer], *, qemu: str = NEWEST, machine: str = "") -> Baseline:
    """The common features of hosts and how each named model does there.

    The best is the one that needs least: nothing off before something off, then the fewest words. ``partial`` has by
    feature the hosts that do not have it.
    """
    models = qemu_models(qemu)
    known = [name for name in features() if name not in models.lacks and not _is_left_out(name)]
    has = {name: [offer.has(name) for offer in offers] for name in known}
    common = frozenset(name for name, found in has.items() if all(found))
    hosts = labels(offers)
    partial = {
        name: tuple(compress(hosts, (not one for one in found)))
        for name, found in has.items()
        if any(found) and not all(found)
    }
    vendors = {offer.vendor for offer in offers if offer.vendor}
    ranked = [
        _ranked(model.name, offers, common, qemu, machine)
        for model in models.models.values()
        if len(vendors) != 1 or model.vendor in vendors
    ]
    ranked.sort(key=lambda entry: (bool(entry.removed), len(entry.removed) + len(entry.added), len(entry.unknown)))
    widths = [offer.phys_bits for offer in offers if offer.phys_bits]
    return Baseline(common, partial, tuple(ranked), min(widths, default=0))


def labels(offers: Sequence[Offer]) -> list[str]:
    """The hosts' names; of one that comes on several kernels with its release: ``milan@6.18``."""
    names = [offer.name for offer in offers]
    return [f"{one.name}@{one.kernel}" if one.kernel and names.count(one.name) > 1 else one.name for one in offers]


def _is_left_out(feature: str) -> bool:
    word = features()[feature][0].word
    return feature in NOT_OF_ITSELF | UNMIGRATABLE or word.at == _PARAVIRTUAL


def _ranked(name: str, offers: Sequence[Offer], common: frozenset[str], qemu: str, machine: str) -> Ranked:
    plain = request(name, machine=machine, qemu=qemu)
    wanted = [(offer, expand(plain, offer).features) for offer in offers]
    removed = sorted({feature for offer, on in wanted for feature in on if offer.has(feature) is False})
    unknown = sorted({feature for offer, on in wanted for feature in on if offer.has(feature) is None})
    added = sorted(name for name in common if not any(name in on for _, on in wanted) and _is_of_cpuid(name))
    switched = plain._replace(switches=dict.fromkeys(removed, False) | dict.fromkeys(added, True))
    made = tuple(realize(switched, offer) for offer in offers)
    return Ranked(name, tuple(removed), tuple(added), tuple(unknown), switched, made)


def _is_of_cpuid(feature: str) -> bool:
    """Bits of CPUID only: VMX and SVM, and what hangs on them, are nobody's default."""
    return not features()[feature][0].word.is_msr and feature not in ("vmx", "svm") and not _is_svm(feature)


def _is_svm(feature: str) -> bool:
    return features()[feature][0].word.at == 0x8000000A
