"""Isolation of decoders that damaged data can crash, in one persistent process per reading process.

GDCM, OpenJPEG, CharLS, pylibjpeg-rle and ITK are compiled code without memory safety. Here they decode in a process
that is started for the first file that needs it, answers one request after the other, and is restarted after a crash:
only the image that caused it is refused.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.reading import limits
from transforms.reading.decoder_process import receive, send

_PROGRAM = Path(__file__).with_name("decoder_process.py")


class DecodingError(ValueError):
    """The decoder refused the data; the message is the kind of its exception."""


class DecoderEndedError(DecodingError):
    """The data crashed the decoder's process, or kept it busy for more than `limits.SECONDS`."""


def decode(request: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], bytearray]:
    """Send one request to the decoder's process; returns its answer and the decoded bytes.

    Args:
        request: see `transforms.reading.decoder_process`; "memory" is added.

    Raises:
        DecodingError: the data cannot be decoded.
    """
    most = limits.current().decoded_bytes * limits.COPIES
    with _process.lock:
        answer, decoded = _process.ask({**request, "memory": most}, data)
    if "error" in answer:
        raise DecodingError(answer["error"])
    return answer, decoded


def decode_array(request: dict[str, Any], data: bytes = b"") -> tuple[dict[str, Any], NDArray[Any]]:
    """As `decode`, for requests that return an array; the array is writable.

    Raises:
        DecodingError: the data cannot be decoded.
    """
    answer, decoded = decode(request, data)
    return answer, np.frombuffer(decoded, np.dtype(answer["dtype"])).reshape(answer["shape"])


class _Process:
    """The decoder's process, started on demand and restarted after it ended."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None

    def ask(self, request: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytearray]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        watch = threading.Timer(limits.SECONDS, process.kill)
        watch.daemon = True
        watch.start()
        try:
            send(process.stdin, request, data)
            return receive(process.stdout)
        except (OSError, EOFError):
            self.end()
            raise DecoderEndedError("the decoder ended") from None
        except BaseException:  # such as Ctrl-C: the answer must not be taken for that to the next request
            self.end()
            raise
        finally:
            watch.cancel()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._running is not None and self._running.poll() is not None:
            self.end()
        if self._running is None:
            # the same packages as here, one thread, and none of the Python options of this process
            paths = [path for path in sys.path if path and Path(path).exists()]
            environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
            environment |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
            environment["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
            self._running = subprocess.Popen(
                [sys.executable, str(_PROGRAM)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env=environment,
                pipesize=2**20 if sys.platform == "linux" else -1,
            )
        return self._running

    def end(self) -> None:
        """Kill the process; it has nothing to finish."""
        process, self._running = self._running, None
        if process is not None:
            process.kill()
            _close(process)
            process.wait()

    def forget(self) -> None:
        """Drop the process without ending it; called in a forked child, since it belongs to the parent."""
        process, self._running = self._running, None
        self.lock = threading.Lock()
        if process is not None:
            _close(process)
            process.returncode = 0  # else Python would warn that it still runs


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


_process = _Process()
atexit.register(_process.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.forget)
