"""Parameters of a run, for MLflow and for the record beside the weights."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from engines.base.checkout import git_commit
from engines.base.loss_parameters import flat_parameters
from engines.base.memory_layout import layout_used
from engines.base.options import with_switches
from engines.base.paths import code_root
from engines.base.precision import precision_used, tf32_used
from engines.records.mlflow_run import Tracking
from engines.scoring.confusion_files import identity
from engines.training.losses import SegmentationLoss
from transforms.dataset import Dataset

PACKAGES = ("torch", "monai", "pytorch-ignite", "mlflow")

SAID_IF_USED = ("channels_last", "checkpointing", "compile", "crop_draws", "cache_frozen")
"""Options that are recorded only if they are used."""


def run_parameters(
    network: nn.Module, data: Dataset, options: Mapping[str, Any], loss: SegmentationLoss | None = None
) -> dict[str, Any]:
    """Return the flat parameters of an MLflow run: options, network, data set, software, and the loss of training."""
    used = {**with_switches(options), **layout_used(options, _device(network))}
    return {
        **{key: value for key, value in used.items() if value is not None and (value or key not in SAID_IF_USED)},
        **precision_used(options, _device(network)),
        **tf32_used(_device(network)),
        "network": type(network).__name__,
        "parameters": sum(p.numel() for p in network.parameters()),
        **{key: value for key, value in identity(data).items() if key != "labels"},
        "classes": ", ".join(data.class_names),
        **({} if loss is None else flat_parameters(loss.parameters_used)),
        "device": _device_name(network),
        "git_commit": git_commit(code_root()),
        "versions": ", ".join([f"python {platform.python_version()}", *(f"{n} {version(n)}" for n in PACKAGES)]),
    }


def with_device(tracking: Tracking, network: nn.Module) -> Tracking:
    """Update the device in the run's parameters: the number of threads was settled after they were made."""
    if "device" in tracking.params:
        tracking.params["device"] = _device_name(network)
    return tracking


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _device_name(network: nn.Module) -> str:
    """Return the device's name, on a CPU with the number of threads, which changes the rounding of sums."""
    device = _device(network)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    return f"{device.type} ({name})"


def settings(
    data: Dataset,
    options: Mapping[str, Any],
    loss: SegmentationLoss | None = None,
    device: torch.device | None = None,
) -> dict[str, Any]:
    """Return plain values stored beside the weights, from which evaluation and inference rebuild network and input.

    With a `device`, precision and memory layout are recorded as resolved for it.
    """
    return {
        **with_switches(options),
        **precision_used(options, device),
        **layout_used(options, device),
        **({} if loss is None else {"loss_parameters": loss.parameters_used}),
        "ignore_label": data.ignore_label,
        "windowing": data.windowing,
        "flip": data.flip,
        "colour": data.colour,
        "source_values": data.source_values,
        "intensity_ranges": data.intensity_ranges,
        "licence": data.content.get("licence", ""),
        "reference": data.content.get("reference", ""),
        **identity(data),
    }
