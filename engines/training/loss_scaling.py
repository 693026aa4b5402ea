"""Scaling of the loss in fp16, whose smallest numbers are larger than many gradients (torch.amp.GradScaler)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import SupervisedTrainer


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
        trainer.scaler = self.scaler = torch.amp.GradScaler(trainer.state.device.type)
        # MONAI names CUDA also where there is none
        warnings.filterwarnings("ignore", message="User provided device_type of 'cuda'", category=UserWarning)

    def state(self) -> dict[str, Any]:
        """Its entry in a checkpoint; none without scaling."""
        return {} if self.scaler is None else {"scaler": self.scaler.state_dict()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Resume from a checkpoint that holds what `state` gave."""
        if self.scaler is not None:
            self.scaler.load_state_dict(saved["scaler"])
