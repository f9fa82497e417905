"""A message of a VMM as text: what it means, what it names, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from layouts.messages import Message
from layouts.x86.msrs import msr_name

_MSR = re.compile(r"\bMSR (0x[0-9a-fA-F]{1,8})\b")


def message_text(message: Message, text: str) -> Iterator[str]:
    """What is known of a message; ``text`` is the line as it was given, whose MSR is named."""
    yield message.text
    yield ""
    yield message.meaning
    found = _MSR.search(text)
    if found is not None:
        yield f"MSR:  {found[1]} is {msr_name(int(found[1], 16))}"
    for command in message.commands:
        yield f"do:   {command}"
    section = f"#{message.section}" if message.section else ""
    yield f"read: docs/{message.page}.md{section}"
    yield f"from: {message.source}"
