"""Identity of a process on a machine, to check later whether it still exists."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
_BRIEF = re.compile(r"([0-9a-f]{8})-(\d+)-(\d*)")


@dataclass(frozen=True)
class Identity:
    """A process.

    Attributes:
        host: name of the machine.
        boot: identifier of the machine's running system, the same in its containers; "" if it has none.
        namespace: the PID namespace of `pid`; "" without namespaces.
        pid: process number.
        started: start time in ticks since boot; None if the system does not provide it.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: int | None

    @classmethod
    def own(cls) -> Identity:
        """Return the identity of this process."""
        return cls(socket.gethostname(), _boot(), _namespace(), os.getpid(), _started(os.getpid()))

    @classmethod
    def of(cls, record: Any) -> Identity | None:
        """The process of a record from a file; None if it is not such a record."""
        kinds = {"host": str, "boot": str, "namespace": str, "pid": int}
        if not isinstance(record, dict) or not all(isinstance(record.get(k), kind) for k, kind in kinds.items()):
            return None
        started = record.get("started")
        return cls(**{k: record[k] for k in kinds}, started=started if isinstance(started, int) else None)

    def record(self) -> dict[str, Any]:
        """The identity as a dictionary, to be stored in a file."""
        return asdict(self)

    def brief(self) -> str:
        """The identity for a file name: digest of the system, process number and start, as `0a1b2c3d-4711-98765`."""
        system = hashlib.sha256("\0".join((self.host, self.boot, self.namespace)).encode()).hexdigest()[:8]
        return f"{system}-{self.pid}-{'' if self.started is None else self.started}"

    @classmethod
    def is_gone(cls, text: str) -> bool:
        """Whether a text begins with the `brief` of a process of this system that certainly no longer exists."""
        found, own = _BRIEF.match(text), cls.own()
        if not found or found[1] != own.brief().partition("-")[0]:
            return False
        started = int(found[3]) if found[3] else None
        return cls(own.host, own.boot, own.namespace, int(found[2]), started).is_alive() is False

    def same_system(self) -> bool:
        """Whether the process runs or ran under the same kernel as this process, in any container."""
        boot = _boot()
        return self.boot == boot if self.boot and boot else self.host == socket.gethostname()

    def is_alive(self) -> bool | None:
        """Whether the process runs; None if unknown: another machine or container, or an unsupported system."""
        if (self.host, self.boot, self.namespace) != (socket.gethostname(), _boot(), _namespace()):
            return None
        if sys.platform == "win32" or self.pid <= 0:  # os.kill would send a signal there
            return None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:  # another user's
            pass
        started = _started(self.pid)
        if started is None or self.started is None:
            return False if started is None and PROC.is_dir() and self.started is not None else None
        return started == self.started


def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Field 22 of proc(5)'s stat; None for a zombie, or a process that no longer exists."""
    try:
        state, *fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return None
