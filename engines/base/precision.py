"""Number formats of the forward pass: single precision, or half of it where the processor is made for it.

Weights, gradients, optimizer, class scores, losses and metrics stay in single precision (fp32); what changes is the
arithmetic of convolutions and matrix products, by PyTorch's autocast.
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
    """`fp32`, `bf16` or `fp16`: what a choice comes to on a device.

    `auto` is bf16 on a GPU that has it, else fp32: on a CPU bf16 pays only where the processor has instructions for it
    (docs/options.md).

    Raises:
        UserError: none of `PRECISIONS`, or fp16 on a CPU without instructions for it.
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
    """The precision that weights were trained with, by the settings beside them; fp32 where a device lacks it."""
    trained = str(settings.get("precision", "fp32"))
    return trained if trained in HALVES and computes(trained, device) else "fp32"


def computes(precision: str, device: torch.device | str) -> bool:
    """Whether a device has instructions for bf16 or fp16."""
    if torch.device(device).type == "cuda":
        return precision == "fp16" or bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not torch.backends.mkldnn.is_available():
        return False
    if precision == "fp16":
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    asked = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(ask() for ask in asked if ask is not None)


def precision_used(options: Mapping[str, Any], device: torch.device | str | None) -> dict[str, str]:
    """The option `precision` as it is on a device, for the record; of a config that has none, or no device, nothing."""
    if "precision" not in options or device is None:
        return {}
    return {"precision": precision_on(options["precision"], device)}


def tf32_used(device: torch.device) -> dict[str, str]:
    """For the record of a GPU: where fp32 is computed with the shorter mantissas of TF32; of other devices nothing."""
    if device.type != "cuda":
        return {}
    kinds = {"convolutions": torch.backends.cudnn.allow_tf32, "matrix products": torch.backends.cuda.matmul.allow_tf32}
    return {"tf32": ", ".join(kind for kind, used in kinds.items() if used) or "none"}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which a network computes in `precision`: fp32, bf16 or fp16."""
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=HALVES[precision])
