"""Time and memory of computations on a device."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch

from engines.base.devices import check_device
from scripts.measuring.gpu_groups import Group
from scripts.measuring.rows import Row
from transforms.errors import UserError

WARM_UP, LEAST, MOST = 3, 5, 50
SECONDS = 1.0
"""Total time of the repeats, unless limited by `MOST` or `LEAST` repeats."""


def device_of(device: str) -> torch.device:
    """Return the device of an option `--device`: by default the first GPU, or the CPU without one.

    Raises:
        UserError: this machine has no such device.
    """
    if device:
        check_device(device)
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or "cpu (1 threads)"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({torch.get_num_threads()} threads)"


def timed(run: Callable[[], Any], device: torch.device, tiny: bool = False) -> list[float]:
    """Return seconds of each repeat after a warm-up; on a GPU, until its work is done."""

    def once() -> float:
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    for _ in range(1 if tiny else WARM_UP):
        once()
    seconds: list[float] = []
    least, most = (2, 2) if tiny else (LEAST, MOST)
    while len(seconds) < least or (len(seconds) < most and sum(seconds) < SECONDS):
        seconds.append(once())
    return seconds


def in_turns(runs: Mapping[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Return seconds of each repeat of several functions called in turns, so that other load affects all of them.

    On a CPU with one torch thread this is processor time. The first turn is not counted.
    """
    alone = device.type != "cuda" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if repeat:
                seconds[name].append(clock() - start)
    return seconds


@contextmanager
def tf32(used: bool) -> Iterator[None]:
    """Set whether a GPU may compute fp32 with the mantissas of TF32."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = used
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def measured(
    group: Group,
    wanted: Mapping[str, Mapping[str, Any]],
    make: Callable[[Mapping[str, Any]], tuple[Callable[[], Any], int, str]],
    device: torch.device,
    tiny: bool,
) -> Iterator[Row]:
    """Yield the rows of a group as they are measured; fp32 first, as the base of the ratios.

    Args:
        group: group of the rows.
        wanted: ways that are not in the file yet → options.
        make: from options, returns the timed function, its number of images, and the batch as text.
        device: device of the computation.
        tiny: few repeats.
    """
    about: dict[str, Any] = {"group": group.name, "device": device_name(device), "torch": torch.__version__}
    base = run = None
    for way, options in {**({"fp32": {}} if "fp32" in group.ways else {}), **wanted}.items():
        run = None  # free its network before measuring the memory of the next way
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        try:
            if options.get("tf32") and device.type != "cuda":
                raise UserError("needs a GPU")
            with tf32(bool(options.get("tf32"))):
                run, images, batch = make(options)
                seconds = timed(run, device, tiny)
        except Exception as error:  # unsupported on this device; other rows can still be measured
            if way in wanted:
                yield Row(**about, way=way, batch="-", note=_reason(error))
            continue
        middle = median(seconds)
        base = middle if way == "fp32" else base
        if way in wanted:
            yield Row(
                **about, way=way, batch=batch, seconds=middle, low=min(seconds), high=max(seconds),
                images_per_second=images / middle, ratio=None if base is None else base / middle,
                peak_gb=torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None,
            )  # fmt: skip


def _reason(error: Exception) -> str:
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return "out of memory"
    text = " ".join(str(error).split())[:200]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
