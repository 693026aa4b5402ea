"""Console output that never stops a run: unsupported characters and closed terminals."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

GONE = {errno.EPIPE, errno.EIO, errno.EBADF, errno.ESHUTDOWN}


def robust_console() -> None:
    """Write `?` for characters outside the console's code page; keep working when its reader has gone (`| head`).

    Call this after logging is set up.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    for handler in (handler for logger in loggers for handler in getattr(logger, "handlers", ())):
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.handleError = _quiet(handler, handler.handleError)  # type: ignore[method-assign, assignment]


def _quiet(
    handler: logging.StreamHandler[Any], otherwise: Callable[[logging.LogRecord], None]
) -> Callable[[logging.LogRecord], None]:
    if getattr(otherwise, "quiet", False):
        return otherwise

    def handle(record: logging.LogRecord) -> None:
        if has_gone(sys.exc_info()[1]):
            forget(handler.stream)
        else:
            otherwise(record)

    handle.quiet = True  # type: ignore[attr-defined]
    return handle


def has_gone(error: BaseException | None) -> bool:
    """Return whether an error means that the reader of the output has gone."""
    return isinstance(error, OSError) and error.errno in GONE


def forget(stream: Any) -> None:
    """Redirect a stream, including the content of its buffer, to the null device."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class Quiet:
    """A stream that ignores errors, for progress bars."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write; ignore errors."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush; ignore errors."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()
