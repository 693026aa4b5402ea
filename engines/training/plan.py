"""Plan of a staged training: its stages with their parameters, and the network at a stage."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from torch import nn

from engines.base.paths import as_path
from engines.inference.any_network import return_full_size
from nets import weights
from transforms.crops import CropSize
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

KEEP = ("best", "last")
"""Epochs whose weights a stage can end with."""


@dataclass(frozen=True)
class FineTuning:
    """The last epochs of a stage, with their own crop size and learning rate."""

    epochs: int
    crop_size: CropSize
    learning_rate: float


@dataclass(frozen=True)
class Stage:
    """Training parameters of one stage.

    Attributes:
        name: name of the stage.
        max_epochs: maximum number of epochs.
        crop_size: in working pixels, a side or (rows, columns).
        learning_rate: initial learning rate.
        fine_tuning: its last epochs, if they differ.
        crop_draws: number of epochs whose crops are drawn; later epochs repeat the batches of these in turn. 0 draws
            new crops in every epoch.
    """

    name: str
    max_epochs: int
    crop_size: CropSize
    learning_rate: float
    fine_tuning: FineTuning | None = None
    crop_draws: int = 0

    def __str__(self) -> str:
        text = f"{self.name}: up to {self.max_epochs} epochs, {_crops(self)}"
        text += f", drawn {self.crop_draws} times" if self.crop_draws else ""
        last = self.max_epochs - self.crop_epochs
        if self.fine_tuning is None or not last:
            return text
        return f"{text}; fine-tuning in the last {last}: {_crops(self.fine_tuning)}"

    @property
    def crop_epochs(self) -> int:
        """Number of epochs before fine-tuning, at least one."""
        return self.max_epochs if self.fine_tuning is None else max(1, self.max_epochs - self.fine_tuning.epochs)

    def crop_size_at(self, epoch: int) -> CropSize:
        """Return the crop size in an epoch, counted from 1."""
        if self.fine_tuning is None or epoch <= self.crop_epochs:
            return self.crop_size
        return self.fine_tuning.crop_size

    def draw_of(self, epoch: int) -> int:
        """Return the epoch, counted from 1, whose crops an epoch uses: itself, or an earlier one if crops recur."""
        return 1 + (epoch - 1) % self.crop_draws if self.crop_draws else epoch

    def parameters(self) -> dict[str, Any]:
        """Return its parameters for the record; fine-tuning and draws only if set."""
        return {key: value for key, value in asdict(self).items() if value}


def _crops(part: Stage | FineTuning) -> str:
    return f"crops of {part.crop_size}, learning rate {part.learning_rate:g}"


def plan(
    stages: Sequence[str],
    max_epochs: int | Mapping[str, int],
    crop_size: int | Sequence[int] | Mapping[str, int | Sequence[int]],
    learning_rate: float | Mapping[str, float],
    fine_tuning: Mapping[str, Any] | None = None,
    crop_draws: int | Mapping[str, int] = 0,
) -> list[Stage]:
    """Return the stages in training order; an option is one number for all stages or a number per stage name.

    A crop size may also be a pair, [rows, columns]. `fine_tuning`, if any, holds the `epochs`, `crop_size` and
    `learning_rate` of the last epochs of every stage. Stages missing in `crop_draws` draw crops in each epoch.

    Raises:
        UserError: no stage, an option whose number for a stage is missing or invalid, or draws of another stage.
    """
    check_list(stages)
    named = crop_draws if isinstance(crop_draws, Mapping) else {}
    strange = next((name for name in named if name not in stages), None)
    if strange is not None:
        raise UserError(f"--crop_draws: unknown stage {strange!r}; choose from {', '.join(stages)}")
    return [
        Stage(
            name,
            _number(name, "max_epochs", max_epochs, int),
            _size(name, crop_size),
            _number(name, "learning_rate", learning_rate, float),
            _fine_tuning(name, fine_tuning),
            _draws(name, crop_draws),
        )
        for name in stages
    ]


def _fine_tuning(stage: str, given: Any) -> FineTuning | None:
    keys = [field.name for field in fields(FineTuning)]
    if given is None:
        return None
    if not isinstance(given, Mapping) or set(given) != set(keys):
        raise UserError(f"--fine_tuning {given}: expected a dictionary of {', '.join(keys)}, or '$None' for none")
    return FineTuning(
        _number(stage, "epochs of fine_tuning", given["epochs"], int),
        _size(stage, given["crop_size"]),
        _number(stage, "learning_rate of fine_tuning", given["learning_rate"], float),
    )


def _draws(stage: str, value: Any) -> int:
    number = value.get(stage, 0) if isinstance(value, Mapping) else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise UserError(f"crop_draws of stage {stage!r} must be a whole number of at least 0, got {number!r}")
    return number


def _number(stage: str, option: str, value: Any, kind: type) -> Any:
    number = value.get(stage) if isinstance(value, Mapping) else value
    plain = isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number) and number > 0
    if not plain or kind(number) != number:
        whole = "whole " if kind is int else ""
        raise UserError(f"{option} of stage {stage!r} must be a {whole}number above 0, got {number!r}")
    return kind(number)


def _size(stage: str, value: Any) -> CropSize:
    size = value.get(stage) if isinstance(value, Mapping) else value
    if isinstance(size, Sequence) and not isinstance(size, str) and len(size) == 2:
        rows, columns = (_number(stage, "crop_size", side, int) for side in size)
        return (rows, columns)
    return int(_number(stage, "crop_size", size, int))


def at_stage(network: nn.Module, stages: Sequence[str], init_weights: str | None = None) -> nn.Module:
    """Set a staged network to the last of these stages, and load initial weights if a file is given.

    Raises:
        UserError: the network has no such stage, or the weights do not fit.
    """
    check_list(stages)
    known = stages_of(network)
    for stage in stages:
        if stage not in known:
            raise UserError(f"unknown stage {stage!r}: {type(network).__name__} has the stages {', '.join(known)}")
    set_stage(network, stages[-1])
    return_full_size(network)
    if init_weights is not None:
        try:
            path = as_path(init_weights)
            logger.info("%s", weights.init_weights(network, path, sha256=digest_in(path.name)))
        except (OSError, ValueError) as error:
            raise UserError(f"--init_weights: {error}") from error
    return network


def digest_in(name: str) -> str | None:
    """Return the first digits of the SHA-256 in the name of published files, as in vgg16-397923af.pth; else None.

    A date, as in front-20240115.pt, is not a digest.
    """
    found = re.search(r"-([0-9a-f]{8,64})\.pth?$", name)
    return found.group(1) if found and not re.fullmatch(r"(19|20)\d{6}", found.group(1)) else None


def stages_of(network: nn.Module) -> tuple[str, ...]:
    """Return a network's stages in training order; a network without, such as MONAI's UNet, has a single one."""
    return tuple(getattr(network, "stages", (type(network).__name__.lower(),)))


def set_stage(network: Any, stage: str) -> None:
    """Make the network compute and train the parts of the stage."""
    if hasattr(network, "set_stage"):
        network.set_stage(stage)


def check_list(stages: Sequence[str]) -> None:
    """Raise UserError unless it is a list of names: `--stages front` is a text."""
    if isinstance(stages, str) or not stages:
        raise UserError(f"stages must be a list of stage names such as \"['front','context']\", got {stages!r}")


def check_keep(keep: str, patience: int) -> None:
    """Raise UserError for an invalid `keep`: early stopping would choose the last epoch by validation."""
    if keep not in KEEP:
        raise UserError(f"--keep {keep}: unknown; choose from {', '.join(KEEP)}")
    if keep == "last" and patience != 0:
        raise UserError(
            f"--keep last uses no validation score, but early stopping does: give --patience 0, not {patience}"
        )
