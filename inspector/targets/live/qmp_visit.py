"""One visit to a QEMU monitor: what is asked, in which order, and how long each may take.

Source: QEMU's QMP reference (query-status, stop, cont, human-monitor-command, query-cpu-model-expansion, getfd,
migrate, dump-guest-memory).
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO, Any

from qemu.qmp import ExecuteError, Message, QMPClient, QMPError

from inspector.capture.errors import InputError
from inspector.readers.budget import Budget
from inspector.targets.live.guard import Guard
from inspector.targets.live.link import DEADLINE_SECONDS, Word
from inspector.targets.live.pause import Pause

#: 4096 is the most CPUs that a machine type has.
_MOST_CPUS = 4096
_MOST_TEXT_BYTES = 64 << 20
#: Writing the memory of a large machine; the tool's own questions have :data:`DEADLINE_SECONDS`.
_WRITE_SECONDS = 600.0
#: What an x86 CPU gives its guest, and what of it the host does not (x86_cpu_get_feature_words).
FEATURE_WORDS = ("feature-words", "filtered-features")
_CPU_TYPE = re.compile(r"(.+)-(?:x86_64|i386|arm)-cpu")

# The library logs what it also raises, which would be a second line on standard error.
logging.getLogger("qemu").addHandler(logging.NullHandler())

#: What its reader raises for what is no JSON, or none that Python follows.
_BROKEN = (OSError, EOFError, ValueError, RecursionError)

_Pauses = Callable[[str], AbstractContextManager[Pause]]


def visit(word: Word, socket_: socket.socket, guard: Guard, pauses: _Pauses, file: IO[bytes] | None) -> dict[str, Any]:
    """Talk to the monitor behind a connected socket. Raises InputError, and TimeoutError for silence.

    The result has ``registers`` by CPU, ``is_kvm``, ``version``, ``model`` and its ``props``, ``words`` by property,
    ``notices``.
    """
    return asyncio.run(_Visit(word, guard, pauses).whole(socket_, file))


class _Client(QMPClient):
    """The library's client, which gives way after each message.

    It reads as long as something is there (10 MB and more), and while it reads no deadline passes: events without end
    would keep it for longer than anybody waits.
    """

    async def _on_message(self, msg: Message) -> None:
        await super()._on_message(msg)
        await asyncio.sleep(0)


class _Visit:
    def __init__(self, word: Word, guard: Guard, pauses: _Pauses) -> None:
        self._word = word
        self._name = word.target
        self._guard = guard
        self._pauses = pauses
        self._client = _Client("inspector")
        # Nobody looks at events: they would be kept for ever.
        self._client.events.event_filter = lambda _event: False
        self._until = 0.0

    async def whole(self, socket_: socket.socket, file: IO[bytes] | None) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        # Tasks of the library that are cut short: what ended them is told, and they would add lines to it.
        loop.set_exception_handler(lambda _loop, _context: None)
        self._until = loop.time() + DEADLINE_SECONDS
        try:
            await asyncio.wait_for(self._client.connect(socket_), self._left())
            return await self._stopped(file)
        except (QMPError, *_BROKEN) as error:
            if isinstance(error, TimeoutError):
                raise
            found = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(self._name, "a QMP monitor", found[:200]) from None
        finally:
            await self._disconnect()

    async def _disconnect(self) -> None:
        try:
            await asyncio.wait_for(self._client.disconnect(), 1)
        except (QMPError, *_BROKEN):
            return

    async def _stopped(self, file: IO[bytes] | None) -> dict[str, Any]:
        """What is wanted of the machine while it stands; it is stopped only where it runs."""
        status = await self._ask("query-status")
        if not isinstance(status, dict) or not isinstance(status.get("running"), bool):
            raise InputError(self._name, "QEMU's status", "another answer")
        work = self._written(file) if file is not None else self._read()
        if not status["running"]:
            found = await work
            after = (await self._asked("query-status")).get("status")
            if after != status.get("status"):
                found["notices"].append(f"the machine was {status.get('status')}, and is {after} now; cont resumes it")
            return found
        with self._pauses("the machine") as pause:
            self._guard.arm()
            pause.begin()
            try:
                await self._ask("stop")
                return await work
            finally:
                work.close()
                await self._resume(pause)

    async def _resume(self, pause: Pause) -> None:
        """The guard says it again where this is not heard."""
        self._until = asyncio.get_running_loop().time() + 1
        try:
            if self._word.wish == "migrate":
                # One that is still going on would stop the machine when it is done.
                await self._ask("migrate_cancel")
            while not await self._goes_on():
                await asyncio.sleep(0.02)
        except (QMPError, InputError, *_BROKEN):
            pause.end("was stopped for {time} and was told to go on, which it did not answer")
        else:
            self._guard.disarm()
            pause.end()

    async def _goes_on(self) -> bool:
        """Resume; refused while a migration comes to its end (qmp_cont)."""
        try:
            await self._ask("cont")
        except ExecuteError:
            return False
        return True

    async def _read(self) -> dict[str, Any]:
        """Registers of every CPU, and what is known of the model."""
        cpus = await self._ask("query-cpus-fast")
        listed = [cpu.get("cpu-index") for cpu in cpus if isinstance(cpu, dict)] if isinstance(cpus, list) else []
        numbers = [number for number in listed if isinstance(number, int)]
        if not 0 < len(numbers) <= _MOST_CPUS:
            raise InputError(self._name, f"a list of 1 to {_MOST_CPUS} CPUs", "another answer")
        budget = Budget(self._name, "registers", records=_MOST_CPUS, size_bytes=_MOST_TEXT_BYTES)
        registers: dict[int, str] = {}
        for number in numbers:
            said = await self._ask("human-monitor-command", {"command-line": "info registers", "cpu-index": number})
            if not isinstance(said, str):
                raise InputError(self._name, f"registers of CPU {number}", "another answer")
            budget.take(None, size_bytes=len(said))
            registers[number] = said
        kvm, version = await self._asked("query-kvm"), await self._asked("query-version")
        found = {"registers": registers, "is_kvm": bool(kvm.get("enabled")), "notices": []}
        found["version"] = ".".join(str(part) for part in _dict(version, "qemu").values())
        return found | await self._model(cpus[0])

    async def _model(self, cpu: dict[str, Any]) -> dict[str, Any]:
        """The CPU's named model in full, and the features that it has here, where this QEMU tells of it."""
        path = str(cpu.get("qom-path", ""))
        kind = await self._asked("qom-get", {"path": path, "property": "type"}, "name")
        match = _CPU_TYPE.fullmatch(str(kind.get("name", "")))
        if not match:
            return {"model": "", "props": {}, "words": {}}
        asked = {"type": "full", "model": {"name": match[1]}}
        model = _dict(await self._asked("query-cpu-model-expansion", asked), "model")
        words: dict[str, Any] = {}
        for name in FEATURE_WORDS if "arm" not in match[0] else ():
            words |= await self._asked("qom-get", {"path": path, "property": name}, name)
        return {"model": match[1] if model else "", "props": _dict(model, "props"), "words": words}

    async def _written(self, file: IO[bytes] | None) -> dict[str, Any]:
        """Have QEMU write a stream or a dump into a file of ours."""
        assert file is not None
        self._until = asyncio.get_running_loop().time() + _WRITE_SECONDS
        self._client.send_fd_scm(file.fileno())
        await self._ask("getfd", {"fdname": "inspector"})
        if self._word.wish == "dump":
            await self._ask("dump-guest-memory", {"paging": False, "protocol": "fd:inspector"})
            return {"notices": []}
        await self._ask("migrate", {"uri": "fd:inspector"})
        while True:
            state = (await self._asked("query-migrate")).get("status")
            if state == "completed":
                return {"notices": []}
            if state in ("failed", "cancelled", None):
                raise InputError(self._name, "a migration to a file", str(state))
            await asyncio.sleep(0.02)

    async def _asked(self, command: str, arguments: dict[str, Any] | None = None, key: str = "") -> dict[str, Any]:
        """An answer that is an object (or a value, under ``key``); empty where this QEMU refuses."""
        try:
            answer = await self._ask(command, arguments)
        except ExecuteError:
            return {}
        if key:
            return {key: answer}
        return answer if isinstance(answer, dict) else {}

    async def _ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        return await asyncio.wait_for(self._client.execute(command, arguments), self._left())

    def _left(self) -> float:
        left = self._until - asyncio.get_running_loop().time()
        if left <= 0:
            raise TimeoutError
        return left


def _dict(found: dict[str, Any], key: str) -> dict[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}
