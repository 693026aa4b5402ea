"""One-line messages for errors of the machine: disk, shared memory, memory."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from transforms.errors import UserError, user_error

SHM = Path("/dev/shm")
SHARED = (
    "the worker processes found no shared memory (/dev/shm is full or small): give --num_workers 0, or enlarge it "
    "(docker run --shm-size 2g, or --ipc host)"
)
WORKER = "a worker process was killed, usually for lack of memory: give a lower --num_workers or --crop_size"
MEMORY = "out of memory: give a lower --micro_batch_size, --crop_size or --image_height"


@contextmanager
def errors_in_one_line(folder: Path, hint: Callable[[], str] | None = None) -> Iterator[None]:
    """Raise errors of disks and memory as `UserError`.

    Args:
        folder: the output folder, named if the error names no file.
        hint: returns advice on what to do afterwards, or "".

    Raises:
        UserError: in place of an error of a disk or memory raised inside.
    """
    try:
        yield
    except Exception as error:
        text = None if user_error(error) is not None else explain(error, folder)
        if text is None:
            raise
        raise UserError("; ".join(filter(None, (text, hint() if hint is not None else "")))) from error


def explain(error: BaseException, folder: Path) -> str | None:
    """Return one line for an error of the machine, or None for an error of another kind."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        if isinstance(cause, (MemoryError, torch.cuda.OutOfMemoryError)):
            return MEMORY
        if isinstance(cause, RuntimeError) and ("Bus error" in text or "/torch_" in text or "shared memory" in text):
            return SHARED
        if isinstance(cause, RuntimeError) and "DataLoader worker" in text and "Caught" not in text:
            return WORKER
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC and cause.filename is None and _is_full(SHM):
            return SHARED
        if isinstance(cause, OSError) and not isinstance(cause, BrokenPipeError):
            return _disk(cause, folder)
        cause = cause.__cause__ or cause.__context__
    return None


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < 1 << 20
    except OSError:
        return False


def _disk(error: OSError, folder: Path) -> str:
    if error.errno is None:  # passed on by a worker process, with the traceback as its text
        return str(error).strip().splitlines()[-1][:300] or type(error).__name__
    return f"{error.filename or folder}: {error.strerror}; make room or check its rights, or give another --output_dir"
