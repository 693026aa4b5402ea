"""Number formats of the forward pass: single precision, or half precision where the processor supports it.

Weights, gradients, optimizer, class scores, losses and metrics stay in single precision (fp32); PyTorch's autocast
changes only the arithmetic of convolutions and matrix products.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from transforms.errors import UserError

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def precision_on(precision: Any, device: torch.device | str) -> str:
    """Return the precision that a choice selects on a device: `fp32`, `bf16` or `fp16`.

    `auto` is bf16 on a GPU that supports it, else fp32: on a CPU bf16 pays only if the processor has instructions for
    it (docs/options.md).

    Raises:
        UserError: not one of `PRECISIONS`, or fp16 on a CPU without instructions for it.
    """
    if precision not in PRECISIONS:
        raise UserError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}")
    if precision == "fp16" and not computes("fp16", device):
        raise UserError("--precision fp16: this CPU has no instructions for it; give bf16 or fp32")
    if precision != "auto":
        return str(precision)
    is_gpu = torch.device(device).type == "cuda"
    return "bf16" if is_gpu and computes("bf16", device) else "fp32"


def precision_of(settings: Mapping[str, Any], device: torch.device | str) -> str:
    """Return the precision that weights were trained with, according to their settings; fp32 if the device lacks it."""
    trained = str(settings.get("precision", "fp32"))
    return trained if trained in HALVES and computes(trained, device) else "fp32"


def computes(precision: str, device: torch.device | str) -> bool:
    """Return whether a device has instructions for bf16 or fp16."""
    if torch.device(device).type == "cuda":
        return precision == "fp16" or bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not torch.backends.mkldnn.is_available():
        return False
    if precision == "fp16":
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask() for ask in asked if ask is not None)


def precision_used(options: Mapping[str, Any], device: torch.device | str | None) -> dict[str, str]:
    """Return the value of the option `precision` on a device, for the record; empty without option or device."""
    if "precision" not in options or device is None:
        return {}
    return {"precision": precision_on(options["precision"], device)}


def tf32_used(device: torch.device) -> dict[str, str]:
    """Return where a GPU computes fp32 with the shorter mantissas of TF32, for the record; empty for other devices."""
    if device.type != "cuda":
        return {}
    kinds = {"convolutions": torch.backends.cudnn.allow_tf32, "matrix products": torch.backends.cuda.matmul.allow_tf32}
    return {"tf32": ", ".join(kind for kind, used in kinds.items() if used) or "none"}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a network computes in `precision`: fp32, bf16 or fp16."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=HALVES[precision])
