"""The gdb remote protocol as far as looking needs it: packets, and the questions that change nothing.

Source: gdb's manual, appendix "GDB Remote Serial Protocol" (Overview, Packets, General Query Packets).
"""

from __future__ import annotations

import re

from inspector.capture.errors import InputError, visible
from inspector.targets.live.link import Link

#: What resumes a stopped target and lets go of it, behind the acknowledgement of what may just have come.
FAREWELL, TAKEN = b"+$D#44", b"$OK#9a"
_WHAT = "the gdb remote protocol"
_ASKED = "qSupported:xmlRegisters=i386,arm;qXfer:features:read+"
#: A stop that nobody asked for: QEMU up to 8.0 tells of the one that connecting makes (gdb_vm_state_change).
_STOPPED = re.compile(rb"[ST][0-9a-f]{2}(?:$|;|[0-9a-z]+:)")
#: The largest register, ZA of 2048 bits, takes 128 KiB of digits; a whole register file twice that.
_MOST_PACKET_BYTES = 1 << 20
_MOST_RESENT = 3
_PIECE_BYTES = 0x800
#: A description with all that it includes, and the threads of a process.
_MOST_DOCUMENT_BYTES = 4 << 20
MOST_THREADS = 1 << 16


class Remote:
    """A stub at the other end of a link. Every method raises InputError for what is no answer."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._acknowledged = True
        features = self.ask(_ASKED).decode("latin-1").split(";")
        self.has_description = "qXfer:features:read+" in features
        if "QStartNoAckMode+" in features and self.ask("QStartNoAckMode") == b"OK":
            self._acknowledged = False

    def ask(self, command: str) -> bytes:
        """Send a packet; the answer to it, empty for what the stub does not know."""
        raw = command.encode("latin-1")
        packet = b"$" + raw + b"#%02x" % (sum(raw) % 256)
        self._link.send(packet)
        resent = 0
        while True:
            first = self._link.byte()
            if first == ord("$"):
                answer = self._packet()
                if command == "?" or not _STOPPED.match(answer):
                    return answer
            elif first == ord("%"):
                self._link.until(b"#", _MOST_PACKET_BYTES)
                self._link.byte(), self._link.byte()
            elif first == ord("-") and resent < _MOST_RESENT:
                resent += 1
                self._link.send(packet)
            elif first != ord("+"):
                raise InputError(self._link.name, _WHAT, f"a byte {first:#04x} between its packets")

    def _packet(self) -> bytes:
        body = self._link.until(b"#", _MOST_PACKET_BYTES)
        digits = bytes((self._link.byte(), self._link.byte()))
        try:
            right = int(digits, 16) == sum(body) % 256
        except ValueError:
            right = False
        if not right:
            found = f"one of {sum(body) % 256:#04x} that says {digits.decode('latin-1')}"
            raise InputError(self._link.name, "a packet with its checksum", found)
        if self._acknowledged:
            self._link.send(b"+")
        return _unpacked(body, self._link.name)

    def said(self, command: str) -> str:
        """The text of a monitor's command (qRcmd), empty where the stub has no such monitor."""
        answer, words = self.ask(f"qRcmd,{command.encode().hex()}"), []
        while answer.startswith(b"O") and answer != b"OK":
            words.append(_text(answer[1:]))
            if len(words) > _MOST_RESENT << 8:
                raise InputError(self._link.name, f"an answer to {command}", "one that does not end")
            answer = self._packet_again()
        return "".join(words)

    def _packet_again(self) -> bytes:
        while (first := self._link.byte()) != ord("$"):
            if first != ord("+"):
                raise InputError(self._link.name, _WHAT, f"a byte {first:#04x} between its packets")
        return self._packet()

    def document(self, annex: str) -> str:
        """A part of the target description (qXfer:features:read), read piece by piece."""
        held = bytearray()
        while True:
            answer = self.ask(f"qXfer:features:read:{annex}:{len(held):x},{_PIECE_BYTES:x}")
            held += answer[1:]
            if answer[:1] == b"l":
                return held.decode("utf-8", "replace")
            if answer[:1] != b"m" or len(answer) < 2:
                found = f"{visible(answer[:16].decode('latin-1')) or 'an empty answer'} for {annex}"
                raise InputError(self._link.name, "a target description", found)
            if len(held) > _MOST_DOCUMENT_BYTES:
                raise InputError(self._link.name, f"a description of at most {_MOST_DOCUMENT_BYTES} bytes", "more")

    def threads(self) -> list[str]:
        """The ids of all threads as the stub writes them; one that is never named where it has no list."""
        found: dict[str, None] = {}
        answer = self.ask("qfThreadInfo").decode("latin-1")
        while answer.startswith("m"):
            before = len(found)
            found.update(dict.fromkeys(filter(None, answer[1:].split(","))))
            if len(found) > MOST_THREADS or len(found) == before:
                expected = f"a list of at most {MOST_THREADS} threads, each once"
                raise InputError(self._link.name, expected, "another one")
            answer = self.ask("qsThreadInfo").decode("latin-1")
        return list(found) or [""]

    def name_of(self, thread: str) -> str:
        """What the stub calls a thread: QEMU's ``CPU#0 [running]`` is ``cpu 0``."""
        about = _text(self.ask(f"qThreadExtraInfo,{thread}")) if thread else ""
        if about.startswith("CPU#"):
            return f"cpu {about[4:].partition(' ')[0]}"
        number = thread.rpartition(".")[2]
        try:
            return f"thread {int(number, 16)}"
        except ValueError:
            return f"thread {thread}".rstrip()

    def choose(self, thread: str) -> None:
        """The thread whose registers are asked for next (Hg)."""
        if thread and (answer := self.ask(f"Hg{thread}")) != b"OK":
            raise InputError(self._link.name, f"thread {thread}", visible(answer[:16].decode("latin-1")) or "none")


def _unpacked(body: bytes, name: str) -> bytes:
    """A packet without its escapes and run lengths."""
    if b"*" not in body and b"}" not in body:
        return body
    found, at = bytearray(), 0
    while at < len(body):
        byte = body[at]
        if byte == ord("}") and at + 1 < len(body):
            found.append(body[at + 1] ^ 0x20)
            at += 2
        elif byte == ord("*") and found and at + 1 < len(body) and body[at + 1] >= 29:
            found += found[-1:] * (body[at + 1] - 29)
            at += 2
        else:
            found.append(byte)
            at += 1
        if len(found) > _MOST_PACKET_BYTES:
            raise InputError(name, f"a packet of at most {_MOST_PACKET_BYTES} bytes", "a longer one")
    return bytes(found)


def _text(digits: bytes) -> str:
    try:
        return bytes.fromhex(digits.decode("latin-1")).decode("utf-8", "replace")
    except ValueError:
        return ""
