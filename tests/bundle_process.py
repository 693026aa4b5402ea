"""Commands of MONAI bundles in separate processes, without importing MONAI each time, which takes seconds.

The processes are forked from a server process that has only imported modules. Signals, exit codes, printed lines,
folder and environment are those of `python -m monai.bundle`. On systems without fork, processes are started as usual.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRELOAD = ["monai.bundle", "mlflow.pytorch", "engines.runs.train", "engines.runs.evaluate", "engines.runs.infer"]
FORKED = "forkserver" in multiprocessing.get_all_start_methods()


def arguments(run_id: str, config: str | Path, *words: str | Path) -> list[str]:
    """Arguments of `python -m monai.bundle`."""
    return ["run", run_id, "--config_file", str(config), *map(str, words)]


class BundleProcess:
    """`python -m monai.bundle WORDS…`, started; its output goes to files.

    Args:
        environment: the whole environment; that of this process by default.
    """

    def __init__(self, words: Sequence[str], cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> None:
        folder = tempfile.mkdtemp(prefix="bundle-process-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._files = [Path(folder, name) for name in ("stdout", "stderr")]
        environment = dict(environment if environment is not None else os.environ) | {"OMP_NUM_THREADS": "1"}
        if FORKED:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(PRELOAD)
            self._forked = context.Process(
                target=_run, args=(list(words), str(cwd), environment, *map(str, self._files))
            )
            self._forked.start()
            self.pid = self._forked.pid or 0
            return
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            command = [sys.executable, "-m", "monai.bundle", *words]
            self._started = subprocess.Popen(command, cwd=cwd, env=environment, stdout=out, stderr=err)
        self.pid = self._started.pid

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float = 240) -> int:
        """Return the exit code, negative for a signal.

        Raises:
            TimeoutError: the process did not end in time, and was killed.
        """
        if not FORKED:
            return self._started.wait(timeout)
        self._forked.join(timeout)
        code = self._forked.exitcode
        if code is None:
            self._forked.kill()
            raise TimeoutError(f"still running after {timeout} s\n{self.stdout}\n{self.stderr}")
        return code

    @property
    def stdout(self) -> str:
        return self._files[0].read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self._files[1].read_text(encoding="utf-8")


def run(
    words: Sequence[str], cwd: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """`python -m monai.bundle WORDS…`, to its end."""
    process = BundleProcess(words, cwd, environment)
    code = process.wait()
    return subprocess.CompletedProcess(list(words), code, process.stdout, process.stderr)


def _run(words: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """In the forked process, imitate `python -m monai.bundle` until its end."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((1, out), (2, err)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.getLogger().handlers.clear()  # of a package imported before its time
    sys.path.insert(0, cwd)
    sys.argv = ["monai.bundle", *words]
    try:
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    except SystemExit:
        raise
    except BaseException:  # what the interpreter would do
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        sys.exit(1)
