"""Who resumes a target when this program is killed: a process that holds its end of the connection, and nothing else.

A stub stops its machine when a debugger connects, and does not resume it when the connection goes; a monitor keeps a
machine stopped. A signal that cannot be caught leaves no time for that. So the connection's socket, before it is
connected, is also given to a guard in a session of its own. The guard waits until the pipe from this program closes,
which the program's end does too, and then says the farewell on that socket.

Where a farewell must not be said twice, nobody but the guard says it: a second ``D`` ends QEMU up to 7.2, whose
handle_detach takes a CPU that the first one has let go of.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Self

from inspector.capture.errors import InputError

#: Words on the pipe: from now on the farewell is due; it is not.
_ARM, _DISARM = b"A", b"D"
#: What the guard runs. It imports nothing of ours: it is there within milliseconds, and holds nothing back.
_SCRIPT = """
import os, signal, socket, sys, time
for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(one, signal.SIG_IGN)
pipe, link = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
farewell, taken, heard, armed = bytes.fromhex(sys.argv[3]), bytes.fromhex(sys.argv[4]), b"", False
again, parent = sys.argv[5] == "again", os.getppid()
os.write(1, b"R")
os.close(1)
while word := os.read(pipe, 1):
    armed = word == b"A"
if armed:
    begun, said = time.monotonic(), 0.0
    # Nobody waits for a guard whose program is gone.
    while taken not in heard and time.monotonic() < begun + (1.5 if os.getppid() == parent else 60 if again else 5):
        try:
            link.settimeout(0.2)
            if not said or again and time.monotonic() > said + 0.2:
                link.sendall(farewell)
                said = time.monotonic()
            # What has come is taken: a socket that is closed with bytes unread may lose the farewell.
            if not (data := link.recv(65536)):
                break
            heard = heard[-64:] + data
        except TimeoutError:
            said = said or 1.0
        except OSError:
            break
    sys.exit(taken not in heard)
"""


class Guard:
    """A guard for one socket, there when the constructor returns. Raises InputError when none can be started.

    ``taken`` is in the answer to ``farewell`` when that was understood; ``again``: it may be said until then.
    """

    def __init__(
        self, name: str, socket_: socket.socket, farewell: bytes, taken: bytes, *, again: bool = False
    ) -> None:
        read, self._pipe = os.pipe()
        words = [str(read), str(socket_.fileno()), farewell.hex(), taken.hex(), "again" if again else "once"]
        try:
            # -I -S: neither the user's environment nor site-packages have a say in it.
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and our own words
                [sys.executable, "-I", "-S", "-c", _SCRIPT, *words],
                pass_fds=(read, socket_.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            os.close(self._pipe)
            raise InputError(name, "a process that resumes it, come what may", str(error.strerror)) from None
        finally:
            os.close(read)
        assert self._process.stdout is not None
        ready = self._process.stdout.read(1)
        self._process.stdout.close()
        if ready != b"R":
            self.close()
            raise InputError(name, "a process that resumes it, come what may", "one that ended at once")

    def arm(self) -> None:
        """From now on the target is resumed when this program ends."""
        os.write(self._pipe, _ARM)

    def disarm(self) -> None:
        """The target goes on already, or is to stay as it was."""
        os.write(self._pipe, _DISARM)

    def close(self) -> bool:
        """Let the guard end, where it is still armed with the farewell; whether that was not needed, or understood."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        return self._process.wait() == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
