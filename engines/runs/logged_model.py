"""The trained network as an MLflow model, which `mlflow.pytorch.load_model` loads without this project's code.

It is stored as a graph of `torch.export`: unlike a pickle, it executes nothing on loading. Batch, height and width are
dynamic. Its input is that of the network: images (N, 3, H, W) scaled to [-0.5, 0.5]; its output is logits. For MLflow's
server it takes image files, see `engines.runs.serving`.
"""

from __future__ import annotations

import copy
import json
import logging
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from engines.base.signals import hides_interruption
from engines.base.world import is_main
from engines.inference.inferers import size_multiple
from engines.records.mlflow_models import Weights, add_model, finish_model, model_name
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output, portable
from engines.records.trained_model import DIGEST
from engines.runs.serving import REQUIREMENTS, add_predictor

logger = logging.getLogger("mammoseg")

NAME = "model"
"""Folder of the network among a run's files, for servers without logged models."""


def add_models(tracking: Tracking, output: Output, results: Mapping[str, Mapping[str, float]]) -> str | None:
    """Log the weights of each stage as a model; return the id of the last, which the run's own scores belong to.

    Args:
        results: validation scores by stage, in training order.
    """
    if not is_main():
        return None
    *earlier, last = results
    bundle = tracking.rows.bundle if tracking.rows is not None else tracking.run_name
    for stage in earlier:
        weights, run_id = _weights(output, stage, results[stage]), tracking.stage_runs.get(stage)
        finish_model(tracking, add_model(tracking, model_name(bundle, stage), weights, run_id))
    tracking.model_id = add_model(tracking, model_name(bundle), _weights(output, last, {}), tracking.run_id)
    return tracking.model_id


def _weights(output: Output, stage: str, scores: Mapping[str, float]) -> Weights:
    record = json.loads((output.models / f"{stage}.json").read_text(encoding="utf-8"))
    return Weights(stage, record[DIGEST], record["epoch"], scores)


def log_network(
    network: nn.Module,
    tracking: Tracking,
    settings: Mapping[str, Any],
    model: str | None = None,
    enabled: bool = True,
    in_channels: int = 3,
) -> bool:
    """Log the network with the run's model; return whether that succeeded. A failure is logged in one line.

    Args:
        network: the trained network.
        tracking: the run.
        settings: settings of the training, by which a server reads images (`engines.runs.serving`).
        model: id from `add_models`; None logs the network as the run's own files, for older servers.
        enabled: False logs that the network is stored elsewhere.
        in_channels: input channels of the network.
    """
    if not tracking.enabled or tracking.failed:
        return False
    with tempfile.TemporaryDirectory() as folder:
        path = _saved(network, Path(folder) / NAME, settings, in_channels) if enabled else None
        if path is not None and model is None:
            tracking.log_artifacts(path, NAME)
            return not tracking.failed
        return finish_model(tracking, model, path) and path is not None


def _saved(network: nn.Module, path: Path, settings: Mapping[str, Any], in_channels: int) -> Path | None:
    try:
        save_network(network, path, settings, in_channels)
        return path
    except Exception as error:  # torch.export fails in many ways, none of which may stop a training
        if hides_interruption(error):
            raise KeyboardInterrupt from None
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        logger.warning("The network is not logged as an MLflow model (%s); its weights are.", reason)
        return None


def save_network(network: nn.Module, path: Path, settings: Mapping[str, Any], in_channels: int = 3) -> None:
    """Write an MLflow model folder, with given requirements, which MLflow would infer by loading the model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow and torch.export warn of their own parts
        _save(network, path, len(settings["labels"]), in_channels)
    add_predictor(path, {**portable(settings), "strides": list(getattr(network, "strides", (size_multiple(network),)))})


def _save(network: nn.Module, path: Path, num_classes: int, in_channels: int) -> None:
    import mlflow.pytorch  # takes a second
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    side = 4 * max(16, size_multiple(network))
    example = torch.zeros(2, in_channels, side, side + side // 2)
    kind = np.dtype("float32")
    signature = ModelSignature(  # tells the export which dimensions are dynamic
        inputs=Schema([TensorSpec(kind, (-1, in_channels, -1, -1))]),
        outputs=Schema([TensorSpec(kind, (-1, num_classes, -1, -1))]),
    )
    mlflow.pytorch.save_model(
        copy.deepcopy(network).cpu().eval(),
        str(path),
        signature=signature,
        input_example=example.numpy(),
        pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in REQUIREMENTS],
        serialization_format="pt2",
    )
