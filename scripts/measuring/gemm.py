"""Rate of matrix products on a device, and operations of a step, to see how close a step comes to the limit."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

SIZE, LARGE, REPEATS = 1536, 8192, 3
"""Rows and columns of the matrices on a CPU (0.07 s at 100 GFLOP/s) and on a GPU; number of timed products."""


class Gemm:
    """Products of two square fp32 matrices.

    Args:
        device: device of the products.
        size: rows and columns; by default large enough for the full speed of the device.
    """

    def __init__(self, device: torch.device, size: int | None = None) -> None:
        self.size = size or (LARGE if device.type == "cuda" else SIZE)
        self.left, self.right, self.result = (torch.rand(self.size, self.size, device=device) for _ in range(3))

    def rate(self, clock: Callable[[], float]) -> float:
        """Return floating-point operations per second of the median product, after a warm-up."""
        seconds = []
        for _ in range(REPEATS + 1):
            start = clock()
            torch.mm(self.left, self.right, out=self.result)
            seconds.append(clock() - start)
        return float(2 * self.size**3 / median(seconds[1:]))


def flops_of(run: Callable[[], Any]) -> float:
    """Return floating-point operations of the convolutions and matrix products of a call, with backward passes."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())
