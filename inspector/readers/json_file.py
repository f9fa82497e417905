"""JSON: which of the known formats it is, by its keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from json import JSONDecodeError

from inspector.capture.errors import InputError, visible
from inspector.capture.model import Capture
from inspector.readers.options import Options
from inspector.readers.source import Source
from inspector.readers.text import parse_json, shown
from layouts.light import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Any

#: A snapshot of 512 vCPUs has 30 MB.
MAX_SIZE_BYTES = 64 << 20
#: ``[   12.345678] text``, ``[pid 12] text``: no JSON list goes on behind its bracket.
_STAMP = re.compile(rb"\[ *\d+\.\d+\] *[^\s\[{]|\[pid +\d")


class Kind(NamedTuple):
    """A JSON format: the module that reads it and how its top level looks."""

    module: str
    recognise: Callable[[Any], bool]


def _has(found: Any, *keys: str) -> bool:
    return isinstance(found, dict) and any(key in found for key in keys)


def _is_register_list(found: Any) -> bool:
    return isinstance(found, dict) and bool(found) and all(key.lower().startswith("0x") for key in list(found)[:64])


def _is_qmp(found: Any) -> bool:
    if isinstance(found, list):
        return bool(found) and _has(found[0], "unavailable-features", "typename", "cpu-index")
    if _has(found, "error"):
        return _has(found["error"], "class", "desc")
    return _has(found, "return") or (_has(found, "reply") and _has(found["reply"], "return")) or _has(found, "model")


KINDS = (
    Kind("firecracker", lambda f: _has(f, "guest_cpu_config", "cpuid_modifiers", "msr_modifiers", "reg_modifiers")),
    Kind("cloud_hypervisor", lambda f: _has(f, "snapshots", "snapshot_data") or _has(f, "Kvm")),
    Kind("crosvm", lambda f: _has(f, "debug_regs", "vcpus") or (_has(f, "sregs") and _has(f, "xcrs"))),
    Kind("cpu_model_json", _is_qmp),
    Kind("register_list", _is_register_list),
)

_ONE = "one JSON document"
_HOW = (
    "inspector fleet add reads them all (inspector verify recorded answers), and one in a file of its own is a capture"
)
_NAME = re.compile(rb'\s*\{\s*"name"\s*:\s*"([^"\\]{1,60})"')
_SHOWN = 5


def looks_like_json(head: bytes) -> bool:
    """Begins with an object or a list; a list whose first item has a time stamp's form is a log."""
    text = head[:4096].lstrip()
    return text[:1] in (b"{", b"[") and not _STAMP.match(text)


def read(source: Source, options: Options) -> Capture:
    """A JSON file as whatever its keys say."""
    from layouts.light import import_module

    data = source.read_all(MAX_SIZE_BYTES)
    try:
        found = parse_json(data)
    except JSONDecodeError as error:
        raise source.fault or _several(source, data) or InputError(source.name, "JSON", error.msg, error.pos) from error
    except ValueError as error:
        raise source.fault or InputError(source.name, "JSON", str(error)) from error
    # A reader keeps what it takes; the text may go.
    del data
    for kind in KINDS:
        if kind.recognise(found):
            module = import_module(f"inspector.readers.{kind.module}")
            capture: Capture = module.from_json(found, source, options)
            return capture
    if isinstance(found, list) and len(found) > 1 and all(isinstance(one, dict) for one in found):
        raise InputError(source.name, _ONE, f"a list of {len(found)}; a line each, {_HOW}")
    keys = ", ".join(key[:60] for key in list(found)[:5]) if isinstance(found, dict) else f"a list of {len(found)}"
    raise InputError(source.name, "JSON of a known format", f"keys {keys}" if isinstance(found, dict) else keys)


def _several(source: Source, data: bytes) -> InputError | None:
    """The error of documents that stand a line each, with the names that they have; None where the first is none."""
    lines = [line for line in data.splitlines() if line.strip()]
    try:
        first = parse_json(lines[0]) if len(lines) > 1 else None
    except ValueError:
        return None
    if not isinstance(first, dict):
        return None
    named = [found[1].decode("utf-8", "replace") for line in lines[:_SHOWN] if (found := _NAME.match(line))]
    more = ", ..." if named and len(lines) > _SHOWN else ""
    names = f" ({visible(', '.join(named))}{more})" if named else ""
    return InputError(source.name, _ONE, f"{len(lines)}, a line each{names}; {_HOW}")


def malformed(source: Source, what: str, found: Any) -> InputError:
    """The error of a value that the format does not allow."""
    return InputError(source.name, what, shown(found))
