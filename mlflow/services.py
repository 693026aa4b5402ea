"""PostgreSQL and an MLflow server with passwords, on localhost, until Ctrl-C.

    python mlflow/services.py FOLDER [--port 5000]        (`make services` does it in outputs/services)

FOLDER holds everything, also for later starts: the database, the artifacts, and `environment`, a file for your
shell (`. FOLDER/environment`) with address, user and a generated password, readable only by you. Needs PostgreSQL's
programs (Debian: postgresql) and the packages psycopg2-binary and mlflow[auth]. For a machine that others can reach,
use compose.yaml in this folder.
"""

from __future__ import annotations

import argparse
import glob
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
SECONDS = 120
"""Timeout for the start of a service."""


def missing() -> str:
    """Return a sentence about missing programs or packages; empty if nothing is missing."""
    if programs() is None:
        return "PostgreSQL's initdb and postgres are not installed (Debian: apt-get install postgresql)"
    absent = [name for name in ("psycopg2", "flask_wtf") if importlib.util.find_spec(name) is None]
    return f"the packages {', '.join(absent)} are missing: pip install psycopg2-binary 'mlflow[auth]'" if absent else ""


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, preferring the newest version."""
    found = [Path(path) for path in sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)]
    on_path = shutil.which("initdb")
    found += [Path(on_path).resolve().parent] if on_path else []
    return next((each for each in found if (each / "initdb").exists() and (each / "postgres").exists()), None)


class Services:
    """The database and the MLflow server, each a child process.

    Args:
        folder: output folder of both.
        port: port of the MLflow server; 0 takes a free one.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        binaries = programs()
        assert binaries is not None
        self.folder, self.binaries = folder.absolute(), binaries
        self.port, self.database_port = port or free_port(), free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.folder.mkdir(parents=True, exist_ok=True)
        self.secret = self._kept("secret")
        # PostgreSQL does not run as root
        self.account: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for a client."""
        return {
            "MLFLOW_TRACKING_URI": f"http://{HOST}:{self.port}",
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": self.secret,
        }

    def start(self) -> None:
        """Start both services, wait until they accept connections, and write `environment`."""
        self._start_database()
        self._start_server()
        lines = [f"export {name}={value}\n" for name, value in self.environment.items()]
        self._private("environment", "".join(lines))

    def stop(self) -> None:
        """Stop both services, the server first."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGINT)  # PostgreSQL: fast shutdown
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()

    def _start_database(self) -> None:
        data = self.folder / "postgres"
        if not (data / "PG_VERSION").exists():
            data.mkdir(mode=0o700, exist_ok=True)
            password = self._private("database-password", self.secret)
            if self.account:
                for path in (data, password):
                    os.chown(path, pwd.getpwnam("postgres").pw_uid, pwd.getpwnam("postgres").pw_gid)
            words = ["-D", str(data), "-U", "mlflow", "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8"]
            self._run([str(self.binaries / "initdb"), *words, "--locale=C"])
            password.unlink()
        options = [f"listen_addresses={HOST}", "unix_socket_directories=", f"port={self.database_port}"]
        words = ["-D", str(data), *(word for option in options for word in ("-c", option))]
        self._begin("postgres.log", [str(self.binaries / "postgres"), *words], self.database_port, **self.account)

    def _start_server(self) -> None:
        settings = f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:///{self.folder}/users.db\n"
        settings += "admin_username = admin\nauthorization_function = "
        settings += "mlflow.server.auth:authenticate_request_basic_auth\n"
        own = {
            "MLFLOW_AUTH_CONFIG_PATH": str(self._private("users.ini", settings)),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.secret,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self._kept("session-key"),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # in the environment, since other users of this machine can read a command line
            "MLFLOW_BACKEND_STORE_URI": f"postgresql+psycopg2://mlflow:{self.secret}@{HOST}:{self.database_port}/postgres",
        }
        words = ["--artifacts-destination", str(self.folder / "artifacts"), "--host", HOST, "--port", str(self.port)]
        command = [sys.executable, "-m", "mlflow", "server", *words, "--app-name", "basic-auth", "--workers", "1"]
        self._begin("mlflow.log", command, self.port, env={**os.environ, **own})

    def _begin(self, log: str, command: list[str], port: int, **more: Any) -> None:
        with (self.folder / log).open("ab") as file:
            self.processes.append(subprocess.Popen(command, cwd=self.folder, stdout=file, stderr=file, **more))
        for _ in range(SECONDS * 4):
            if self.processes[-1].poll() is not None:
                break
            try:
                socket.create_connection((HOST, port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.25)
        self.stop()
        raise SystemExit(f"error: {Path(command[0]).name} did not start; see the end of {self.folder / log}")

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **self.account)
        if done.returncode:
            raise SystemExit(f"error: {Path(command[0]).name}: {done.stderr.strip()[-300:]}")

    def _kept(self, name: str) -> str:
        path = self.folder / name
        if not path.exists():
            self._private(name, secrets.token_urlsafe(24))
        return path.read_text(encoding="utf-8")

    def _private(self, name: str, text: str) -> Path:
        path = self.folder / name
        with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return path


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as each:
        each.bind((HOST, 0))
        return int(each.getsockname()[1])


def main() -> int:
    """Start the services, print their address, and wait."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=5000)
    given = parser.parse_args()
    problem = missing()
    if problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    services = Services(given.folder, given.port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        services.start()
        print(
            f"http://{HOST}:{services.port}   to use it:   . {services.folder / 'environment'}   Ctrl-C stops it",
            flush=True,
        )
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        services.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
