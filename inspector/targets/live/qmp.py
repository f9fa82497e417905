"""``qmp:PATH`` and ``qmp:HOST:PORT``: a QEMU machine through its monitor (QMP).

As it is, the registers are those of ``info registers`` of every CPU. ``?migrate`` and ``?dump`` have QEMU write its
migration stream, or a dump of the guest's memory, into a file of ours, which is then read as any such file: both hold
the whole memory, for as long as they are read.

The protocol is spoken by ``qemu.qmp``, QEMU's own library, which is an extra.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from importlib.util import find_spec
from typing import IO, Any

from inspector.capture.errors import InputError, UsageError, visible
from inspector.capture.host import Host
from inspector.capture.model import Capture
from inspector.readers.cpu_model_json import model_area
from inspector.readers.info_registers import read_registers
from inspector.readers.open import open_capture
from inspector.readers.options import Options
from inspector.readers.qemu_feature_words import areas_of
from inspector.readers.source import BytesSource
from inspector.targets.live.guard import Guard
from inspector.targets.live.link import Word, connect, made_socket, parsed
from inspector.targets.live.pause import told_pause

SCHEME = "qmp:"
_MIGRATE, _DUMP = "migrate", "dump"
_EXTRA = "qmp: needs the library qemu.qmp, which is not installed: pip install 'vcpu-inspector[qmp]'"
#: What a monitor is told when this program is gone; both do nothing where they are not due.
_FAREWELL = b'\n{"execute": "migrate_cancel"}\n{"execute": "cont", "id": "resumed"}\n'
_TAKEN = b'{"return": {}, "id": "resumed"}'


def capture_of_qmp(target: str, options: Options) -> Capture:
    """The machine's CPUs. Raises UsageError for the word and without the extra, InputError for what is no monitor."""
    word = parsed(target, SCHEME, (_MIGRATE, _DUMP))
    try:
        present = find_spec("qemu.qmp") is not None
    except ModuleNotFoundError:
        present = False
    if not present:
        raise UsageError(_EXTRA)
    if word.wish and not word.address.path:
        raise UsageError(f"{target}: ?{word.wish} passes a file through a unix socket; HOST:PORT cannot")
    if not word.wish:
        return _registers(word, options)
    # A file without a name: it is gone with this program, and with the last vCPU that reads it.
    with tempfile.TemporaryFile() as file:
        notices = _visited(word, options, file)["notices"]
        capture = open_capture(f"/proc/self/fd/{file.fileno()}", options, target)
    capture.notices += notices
    return capture


def _registers(word: Word, options: Options) -> Capture:
    found = _visited(word, options, None)
    text = "".join(f"CPU#{number}\n{said}\n" for number, said in found["registers"].items())
    source = BytesSource(word.target, text.encode("utf-8", "replace"))
    capture = read_registers(source, is_kvm=found["is_kvm"])
    capture.format = "qmp"
    capture.host = Host(about=visible(f"QEMU {found['version']}, {'KVM' if found['is_kvm'] else 'no KVM'}"))
    if found["model"]:
        capture.context.append(model_area(visible(found["model"]), found["props"], source))
    words = found["words"]
    capture.context += areas_of(words.get("feature-words"), words.get("filtered-features"), word.target)
    capture.notices += found["notices"]
    return capture


def _visited(word: Word, options: Options, file: IO[bytes] | None) -> dict[str, Any]:
    """What the monitor said; the machine runs again after it, if it did before."""
    from inspector.targets.live.qmp_visit import visit

    socket_, place = made_socket(word)
    with closing(socket_), Guard(word.target, socket_, _FAREWELL, _TAKEN, again=True) as guard:
        connect(socket_, place, word.target, "a QMP monitor")
        try:
            return visit(word, socket_, guard, lambda what: told_pause(word.target, what, options.note), file)
        except TimeoutError:
            raise InputError(word.target, "a QMP monitor", "no whole answer in time (another client?)") from None
