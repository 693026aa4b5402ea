"""Trained weights and the record beside them, checked before use."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engines.base.paths import as_path
from engines.records.checkpoint import load_checkpoint
from engines.records.tables import write_text
from nets.safe_load import not_finite
from transforms.digests import file_sha256
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

DIGEST = "weights_sha256"
"""Key of models/<weights>.json for the digest of models/<weights>.pt."""

Kind = tuple[type, ...]
NEEDED: dict[str, Kind] = {
    "labels": (dict,),
    "stage": (str,),
    "width": (int, float),
    "image_height": (int, type(None)),
    "mirror_averaging": (bool,),
    "windowing": (str,),
    "flip": (str,),
    "colour": (bool,),
    "source_values": (list, type(None)),
}
"""Settings that evaluation and inference read, with their permitted types."""


def load_settings(folder: str | Path, weights: str = "model") -> dict[str, Any]:
    """Return the settings with which the network of models/<weights>.pt was built and trained.

    Args:
        folder: the output folder of a training.
        weights: "model" (the last stage trained) or the name of a stage.

    Raises:
        UserError: the weights do not exist, or the file is broken or of another program.
    """
    models = as_path(folder) / "models"
    path = models / f"{weights}.json"
    if not (models / "model.json").is_file():
        raise UserError(f"{models}: no trained model here; run the bundle's training first, or give --output_dir")
    if not path.is_file():
        raise UserError(f"--weights {weights}: not in {models}; choose from {_weights_in(models)}")
    settings = _read(path)
    missing = [name for name in NEEDED if name not in settings]
    if missing:
        raise UserError(f"{path}: has no {', '.join(missing)}; restore the file, or train again")
    for name, kinds in NEEDED.items():
        if not _fits(name, settings[name], kinds):
            found = str(settings[name])[:60]
            raise UserError(f"{path}: {name} is {found}, which is invalid; restore the file, or train again")
    return settings


def store_point(folder: str | Path, stage: str, point: Mapping[str, Any]) -> None:
    """Write an operating point to the settings of a stage, and of the model if that is of this stage."""
    for name in (stage, "model"):
        path = as_path(folder) / "models" / f"{name}.json"
        if path.is_file():
            settings = _read(path)
            if settings.get("stage") == stage:
                write_text(path, json.dumps({**settings, "operating_point": dict(point)}, indent=2) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path}: broken JSON ({str(error)[:120]}); train again, or restore the file") from error
    if not isinstance(settings, dict):
        raise UserError(f"{path}: holds a {type(settings).__name__}; expected an object; restore the file")
    return settings


def _fits(name: str, value: Any, kinds: Kind) -> bool:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return False
    if isinstance(value, dict):
        numbers = {str(number) for number in range(len(value))}
        return bool(value) and set(value) == numbers and all(isinstance(label, str) for label in value.values())
    return not isinstance(value, float) or math.isfinite(value)


def _weights_in(models: Path) -> str:
    found = sorted(path.stem for path in models.glob("*.json") if path.with_suffix(".pt").is_file())
    return ", ".join(found) or "none"


def weights_file(folder: str | Path, weights: str = "model") -> str:
    """Return the path of models/<weights>.pt after checking its content: digest or checksums, named finite tensors.

    If "model" fails the check, the file of its stage is tried, which holds the same weights.

    Raises:
        UserError: the file does not exist, is damaged or truncated.
    """
    models = as_path(folder) / "models"
    path = models / f"{weights}.pt"
    record = _read(path.with_suffix(".json")) if path.with_suffix(".json").is_file() else {}
    try:
        _check(path, record)
    except UserError as error:
        same = models / f"{record.get('stage')}.pt"
        if weights != "model" or DIGEST not in record or not same.is_file():
            raise
        try:
            _check(same, record)
        except UserError:
            raise error from None
        logger.warning("%s: using the equal weights of %s", error, same.name)
        return str(same)
    return str(path)


def _check(path: Path, record: Mapping[str, Any]) -> None:
    if not path.is_file():
        raise UserError(
            f"{path}: no such weights; available: {_weights_in(path.parent)}; train again, or restore the file"
        )
    recorded = record.get(DIGEST)
    if recorded is not None and file_sha256(path) != recorded:
        raise UserError(
            f"{path}: damaged or truncated, or not the file that was saved with {path.stem}.json (SHA-256 differs); "
            "restore it, or train again (--resume true continues a training that was interrupted)"
        )
    try:
        state = load_checkpoint(path)
    except UserError as error:
        raise UserError(f"{path}: damaged or truncated; restore the file, or train again") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path}: holds more than named weights; expected models/model.pt of a finished training")
    if unusable := not_finite(state):
        raise UserError(
            f"{path}: {len(unusable)} of {len(state)} weights are NaN or infinite, such as {unusable[0]}; train again, "
            "with a lower --learning_rate"
        )
    if recorded is None:
        logger.warning("%s has no digest in %s.json: whether it is the trained file is unknown", path, path.stem)
