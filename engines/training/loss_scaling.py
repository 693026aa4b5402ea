"""Loss scaling for fp16, whose smallest numbers exceed many gradients (torch.amp.GradScaler)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer

MONAI_WARNINGS = (".*torch.cuda.amp.GradScaler", ".*device_type of 'cuda'")
"""Warnings about MONAI's own scaler and context, which are for CUDA only and not used."""


class LossScaling:
    """Makes a MONAI trainer scale its loss if its inferer computes in fp16; otherwise changes nothing.

    A step with infinite gradients is skipped, and the factor is lowered.
    """

    def __init__(self, trainer: SupervisedTrainer) -> None:
        self.scaler: torch.amp.GradScaler | None = None
        if getattr(trainer.inferer, "precision", "fp32") != "fp16":
            return
        trainer.amp = True
        trainer.amp_kwargs = {"enabled": False}  # the inferer has its own context: the loss stays fp32
        self.scaler = torch.amp.GradScaler(trainer.state.device.type)
        trainer.add_event_handler(Events.STARTED, self._take, trainer)
        for text in MONAI_WARNINGS:
            warnings.filterwarnings("ignore", message=text)

    def _take(self, trainer: SupervisedTrainer) -> None:
        """Restore the scaler, which MONAI replaces at each run of a trainer; this one lasts for the whole training."""
        trainer.scaler = self.scaler

    def state(self) -> dict[str, Any]:
        """Return the entry for a checkpoint; empty without scaling."""
        return {} if self.scaler is None else {"scaler": self.scaler.state_dict()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Resume from a checkpoint with the entry of `state`."""
        if self.scaler is not None:
            self.scaler.load_state_dict(saved["scaler"])
