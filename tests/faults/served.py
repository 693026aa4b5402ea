"""One `mlflow models serve` for all hostile files."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from forks import tree_gb

START, ANSWER = 600.0, 300.0
"""Seconds to wait on a busy machine."""


class Server:
    """The server of a logged model, started elsewhere and with the code of the model's own folder.

    Args:
        model: the model's folder.
        folder: where it is started, and what it prints is kept.
    """

    def __init__(self, model: Path, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.log = folder / "server.log"
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(self.model), "--env-manager", "local"]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*words, "-p", str(self.port)], cwd=self.folder, env=environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.starts += 1
        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=30).close()
                return
            time.sleep(0.5)
        raise RuntimeError(f"the server did not start, see {self.log}")

    def send(self, content: bytes) -> tuple[int, str]:
        """HTTP status and text of the answer; -1 if there is none."""
        body = {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(content).decode()]]}}
        address = f"http://127.0.0.1:{self.port}/invocations"
        request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=ANSWER) as response:
                return int(response.status), response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return -1, str(error)

    def busy_seconds(self) -> float:
        """Processor seconds of the server and its children so far."""
        assert self.process is not None
        total, rest = 0.0, [self.process.pid]
        while rest:
            one = rest.pop()
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
                rest += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
        return total

    def gb(self) -> float:
        """Memory now."""
        assert self.process is not None
        return tree_gb(self.process.pid)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
