"""Several networks as one: the mean of their class probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import Tensor, nn

from engines.inference.inferers import MirrorAveraging
from engines.inference.whole_image import WholeImageInferer
from transforms.working_resolution import resize_image, upsampled_strips, working_size

LEAST = torch.finfo(torch.float32).tiny
"""Replaces a probability of 0, whose logarithm is infinite."""


@dataclass(frozen=True)
class Member:
    """One network of an ensemble, and how an image is presented to it.

    Attributes:
        image_height: rows to which the image is resized for it; None keeps them.
        mirror_averaging: average its probabilities over the image and its mirror image.
    """

    network: nn.Module
    image_height: int | None = None
    mirror_averaging: bool = False


class Ensemble(nn.Module):
    """The mean of the members' class probabilities, at the resolution of the image.

    Each member sees the image at its own working resolution. Its logits are resized to the image's resolution, as for
    the mask of a single network (`transforms.working_resolution`), and become probabilities there.

    Args:
        members: networks with the same classes.
        memory_gb: see `TiledInferer`.
        disagreement: keep in `disagreement` how much the members differ.

    Attributes:
        disagreement: float32 (N, 1, H, W) of the last images: the variance of the members' probabilities (divided by
            their number), summed over the classes. 0 where all agree; at most 0.5 with two members, if they are
            certain of different classes; never above 1. None if it is not kept.
    """

    takes_whole_images = True
    """`WholeImageInferer` leaves padding and tiling to the members' own inferers."""

    def __init__(self, members: Sequence[Member], memory_gb: float | None = None, disagreement: bool = False) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.network for member in members)
        self._heights = [member.image_height for member in members]
        whole = WholeImageInferer(memory_gb=memory_gb)
        self._inferers = [MirrorAveraging(whole, member.mirror_averaging) for member in members]
        self._keep = disagreement
        self.disagreement: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) → logits (N, classes, H, W): the logarithm of the mean probabilities."""
        parts = [self._one(image) for image in images]
        self.disagreement = torch.stack([variance for _, variance in parts]) if self._keep else None
        return torch.stack([logits for logits, _ in parts])

    def _one(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """One image (C, H, W) → logits (classes, H, W) and disagreement (1, H, W), empty if not kept."""
        size = (int(image.shape[-2]), int(image.shape[-1]))
        mean = squares = image.new_zeros(0)
        for network, inferer, height in zip(self.networks, self._inferers, self._heights, strict=True):
            shown = resize_image(image, working_size(*size, height))
            logits = inferer(shown[None], network)[0]
            if not mean.numel():
                mean = image.new_zeros((logits.shape[0], *size), dtype=torch.float32)
                squares = image.new_zeros((1, *size) if self._keep else 0, dtype=torch.float32)
            for start, strip in upsampled_strips(logits, size):
                rows = slice(start, start + strip.shape[1])
                probabilities = torch.softmax(strip, dim=0)
                mean[:, rows] += probabilities
                if self._keep:
                    squares[:, rows] += probabilities.square().sum(dim=0, keepdim=True)
        mean /= len(self.networks)
        if self._keep:
            squares = (squares / len(self.networks) - mean.square().sum(dim=0, keepdim=True)).clamp_(min=0)
        return mean.clamp_(min=LEAST).log_(), squares


class Disagreement:
    """Evaluator handler: puts the ensemble's disagreement into the output, as `disagreement` beside `pred`."""

    def __init__(self, ensemble: Any) -> None:
        self.ensemble = ensemble

    def attach(self, engine: Engine) -> None:
        """Register on the evaluator."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Add the disagreement before the output is split into images."""
        engine.state.output["disagreement"] = self.ensemble.disagreement
