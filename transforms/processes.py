"""Identity of a process on a machine, for a later check whether it still exists."""

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
        boot: identifier of the machine's running system, the same in its containers; "" where it has none.
        namespace: that within which `pid` counts; "" where there are none.
        pid: its number.
        started: when it started, in ticks since boot; None where the system does not say.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: int | None

    @classmethod
    def own(cls) -> Identity:
        """This process."""
        return cls(socket.gethostname(), _boot(), _namespace(), os.getpid(), _started(os.getpid()))

    @classmethod
    def of(cls, record: Any) -> Identity | None:
        """Out of a file; None if it is no such record."""
        kinds = {"host": str, "boot": str, "namespace": str, "pid": int}
        if not isinstance(record, dict) or not all(isinstance(record.get(k), kind) for k, kind in kinds.items()):
            return None
        started = record.get("started")
        return cls(**{k: record[k] for k in kinds}, started=started if isinstance(started, int) else None)

    def record(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)

    def brief(self) -> str:
        """For the name of a file: a digest of the system, the number and the start, such as `0a1b2c3d-4711-98765`."""
        system = hashlib.sha256("\0".join((self.host, self.boot, self.namespace)).encode()).hexdigest()[:8]
        return f"{system}-{self.pid}-{'' if self.started is None else self.started}"

    @classmethod
    def is_gone(cls, text: str) -> bool:
        """Whether a text begins with the `brief` of a process of this system that certainly does not exist any more."""
        found, own = _BRIEF.match(text), cls.own()
        if not found or found[1] != own.brief().partition("-")[0]:
            return False
        started = int(found[3]) if found[3] else None
        return cls(own.host, own.boot, own.namespace, int(found[2]), started).is_alive() is False

    def same_system(self) -> bool:
        """Whether it is, or was, under the kernel that this process is under, in another container or not."""
        boot = _boot()
        return self.boot == boot if self.boot and boot else self.host == socket.gethostname()

    def is_alive(self) -> bool | None:
        """Whether it runs; None if that cannot be known: another machine, another container, or no way to ask."""
        if (self.host, self.boot, self.namespace) != (socket.gethostname(), _boot(), _namespace()):
            return None
        if sys.platform == "win32" or self.pid <= 0:  # where asking would be a signal
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
    """Field 22 of proc(5)'s stat; None for a process that is only a zombie, or gone."""
    try:
        state, *fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return None
