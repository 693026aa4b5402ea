"""Memory of a forward pass, computed before it runs, and free memory.

A network is run on torch's meta device, which knows shapes but holds no numbers: full width and a full mammogram take
milliseconds and no memory. Every operator is intercepted, and the bytes of its results count until they are freed. This
gives torch's own allocations; the library behind a convolution may copy input, weight and output into its own layout,
so their bytes are added while a convolution runs.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nets.shared_copy import Network, shared_copy

logger = logging.getLogger("mammoseg")

GB = 1024**3
DEFAULT_GB = 4.0
"""Default memory for one forward pass on the CPU: more does not make tiles faster there."""

PADDED = 32
"""Images count as padded to multiples of this number, which networks with skip connections may need."""
WARM_UP = 3
"""Runs in which TorchScript optimizes a graph, which it cannot do while operators are being counted."""
SMALL = 256
"""Side of the image part for networks that cannot be counted on the meta device."""

CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that operators make inside the context, as long as they live.

    Attributes:
        peak: most bytes alive at a time, including copies inside a convolution.
        largest: bytes of the largest tensor.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self.largest = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and record its results."""
        result = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        copies = 0
        if func is torch.ops.aten.convolution.default:
            copies = sum(size_of(t) for t in (args[0], args[1], *made))
        for tensor in made:
            storage = tensor.untyped_storage()
            self._alive.setdefault(storage._cdata, (StorageWeakRef(storage), storage.nbytes()))
            self.largest = max(self.largest, size_of(tensor))
        self._alive = {key: pair for key, pair in self._alive.items() if not pair[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()) + copies)
        return result


def on_meta(network: Network) -> Network:
    """Return a copy of `network` without numbers, for the meta device."""
    return shared_copy(network, lambda name, value: torch.empty_like(value, device="meta"), watched=False)


def peak_bytes(run: Callable[[Tensor], Any], shape: Sequence[int], dtype: torch.dtype) -> int:
    """Return the bytes that `run` takes on the meta device for an input of `shape`, including input and result.

    Parameters do not count.
    """
    x = torch.empty(*shape, dtype=dtype, device="meta")
    live = LiveBytes()
    with torch.no_grad(), live:
        run(x)
    return live.peak + size_of(x)


def network_bytes(network: Callable[..., Any], image: Tensor, shape: Sequence[int], *args: Any, **kwargs: Any) -> int:
    """Return the bytes of a whole forward pass of any network for an input of `shape` with the dtype of `image`.

    A network that does not run on the meta device is run on a small part of `image`, and the count scaled up; 0 if
    that fails, too, so that the pass itself raises the error.
    """
    name = type(network).__name__
    if isinstance(network, nn.Module) and not isinstance(network, torch.jit.ScriptModule) and not args and not kwargs:
        even = [-(-length // PADDED) * PADDED for length in shape[-2:]]
        for sides in (even, shape[-2:]):
            try:
                return peak_bytes(on_meta(network), (*shape[:-2], *sides), image.dtype)
            except Exception as error:  # an arbitrary network may raise anything
                logger.debug("%s does not run on the meta device: %s", name, error)
    part = image[:1, :, :SMALL, :SMALL]
    part = F.pad(part, (0, SMALL - part.shape[-1], 0, SMALL - part.shape[-2]))
    live = LiveBytes()
    try:
        with torch.no_grad():
            for _ in range(WARM_UP if isinstance(network, torch.jit.ScriptModule) else 0):
                network(part, *args, **kwargs)
            with live:
                network(part, *args, **kwargs)
    except Exception as error:
        logger.debug("%s does not run on %d x %d pixels: %s", name, SMALL, SMALL, error)
        return 0
    return (live.peak + size_of(part)) * math.prod(shape) // part.numel()


def size_of(x: Tensor) -> int:
    """Return the bytes of a tensor's values."""
    return x.numel() * x.element_size()


def default_memory(device: torch.device) -> int:
    """Return bytes for one forward pass: half of a GPU's free memory; on the CPU at most `DEFAULT_GB`."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # reserved by torch, reusable
        return (int(torch.cuda.mem_get_info(device)[0]) + kept) // 2
    return min(int(DEFAULT_GB * GB), free_memory() // 2)


def free_memory() -> int:
    """Return the available bytes of main memory within a container's limit; twice `DEFAULT_GB` if unknown."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
    except (OSError, ValueError, IndexError):
        if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for limit, used in CGROUPS:
        try:
            taken = int(Path(used).read_text()) - _cached_files(Path(used).with_name("memory.stat"))
            found.append(max(0, int(Path(limit).read_text()) - taken))
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return min(found, default=int(2 * DEFAULT_GB * GB))


def _cached_files(statistics: Path) -> int:
    """Return the bytes of a container's file cache, which counts as used but is released at once."""
    if not statistics.is_file():
        return 0
    entries = dict(line.split() for line in statistics.read_text(encoding="ascii").splitlines())
    return int(entries.get("total_inactive_file", entries.get("inactive_file", 0)))


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out, on a GPU or the CPU."""
    text = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in text or "can't allocate memory" in text
