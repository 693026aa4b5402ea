"""Scaling of the loss in fp16, whose smallest numbers are larger than many gradients (torch.amp.GradScaler)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer

MONAI_WARNINGS = (".*torch.cuda.amp.GradScaler", ".*device_type of 'cuda'")
"""Of its scaler and its context, which are for CUDA alone and not used."""


class LossScaling:
    """Has a MONAI trainer scale its loss if its inferer computes in fp16, and leaves it as it is otherwise.

    A step with infinite gradients is left out, and the factor is lowered.
    """

    def __init__(self, trainer: SupervisedTrainer) -> None:
        self.scaler: torch.amp.GradScaler | None = None
        if getattr(trainer.inferer, "precision", "fp32") != "fp16":
            return
        trainer.amp = True
        trainer.amp_kwargs = {"enabled": False}  # the inferer has the context of its own: the loss stays fp32
        self.scaler = torch.amp.GradScaler(trainer.state.device.type)
        trainer.add_event_handler(Events.STARTED, self._take, trainer)
        for text in MONAI_WARNINGS:
            warnings.filterwarnings("ignore", message=text)

    def _take(self, trainer: SupervisedTrainer) -> None:
        """MONAI makes a new scaler whenever a trainer runs; this one lives as long as the training."""
        trainer.scaler = self.scaler

    def state(self) -> dict[str, Any]:
        """Its entry in a checkpoint; none without scaling."""
        return {} if self.scaler is None else {"scaler": self.scaler.state_dict()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Resume from a checkpoint that holds what `state` gave."""
        if self.scaler is not None:
            self.scaler.load_state_dict(saved["scaler"])
