"""Hosts of x86 models of which everything is known, and what comes of a model on them."""

from __future__ import annotations

from inspector.machine.x86.models.offer import Offer, offer_of_features, tcg_offer
from inspector.machine.x86.models.realize import Realization, realize
from inspector.machine.x86.models.request import request
from layouts.x86.models.features import features


def every(*gone: str, vendor: str = "AuthenticAMD", accelerator: str = "kvm") -> Offer:
    """A host that has everything but what is named."""
    there = set(features()) - set(gone)
    return offer_of_features("h", there, gone, accelerator=accelerator, signature=(vendor, 25, 1, 1))


def made(name: str, host: Offer | None = None, qemu: str = "", machine: str = "", **properties: str) -> Realization:
    """A model with switches (``aes="on"``) and properties on a host, else on the emulator."""
    words = {key.replace("_", "-"): value for key, value in properties.items()}
    switches = {word: value == "on" for word, value in words.items() if word in features()}
    words = {word: value for word, value in words.items() if word not in features()}
    return realize(request(name, switches, words, machine=machine, qemu=qemu), host or tcg_offer())
