"""Inference on whole images: in one pass, or in exact tiles for large ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.inferers import Inferer
from torch import Tensor

from engines.base.options import switch
from engines.inference.finite import finite
from engines.inference.inferers import PaddedInferer
from engines.inference.tiling.execution import labels_of
from engines.inference.tiling.tiled_inferer import TiledInferer
from transforms.decision import Decision
from transforms.errors import UserError


class WholeImageInferer(Inferer):
    """One forward pass over the whole image, with all of its context.

    Images above `max_pixels` go through `TiledInferer`, which gives the result of one pass in bounded memory.

    Args:
        max_pixels: largest image (rows x columns, at the working resolution) taken in one pass.
        memory_gb: see `TiledInferer`.
        labels: return class numbers, uint8 (N, 1, H, W); for a large image no full-size logits are made.
        decision: rule that chooses the class; None takes the most likely class.
        precision: fp32, bf16 or fp16, see `engines.base.precision`; scores are always fp32.
    """

    def __init__(
        self,
        max_pixels: int = 1024 * 1024,
        memory_gb: float | None = None,
        labels: bool = False,
        decision: Decision | None = None,
        precision: str = "fp32",
    ) -> None:
        super().__init__()
        self.max_pixels = max_pixels
        self.labels, self.decision = labels, decision
        self._whole = PaddedInferer(precision)
        self._tiles = TiledInferer(memory_gb, labels=labels, decision=decision, precision=precision)

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """(N, C, H, W) → logits (N, classes, H, W), or labels.

        Raises UserError if a score is NaN or infinite.
        """
        rows, columns = inputs.shape[-2:]
        if getattr(network, "takes_whole_images", False):  # an ensemble
            scores: Tensor = network(inputs)
            return labels_of(scores, self.decision) if self.labels else finite(scores)
        if rows * columns > self.max_pixels:
            result: Tensor = self._tiles(inputs, network, *args, **kwargs)
            return result if self.labels else finite(result)
        logits: Tensor = self._whole(inputs, network, *args, **kwargs)
        return labels_of(logits, self.decision) if self.labels else finite(logits)


def labels_alone(wish: Any, image_height: int | None, mirror_averaging: Any, needs_logits: bool) -> bool:
    """Return whether to make class numbers without logits: at the stored resolution, without mirror averaging, and for
    formats that need no logits.

    Args:
        wish: the option `only_labels`; None means true where possible.
        image_height, mirror_averaging: the options.
        needs_logits: see `transforms.outputs.formats.needs_logits`.

    Raises:
        UserError: it is requested but impossible; states why.
    """
    reasons = {
        "image_height (labels are made from enlarged logits)": image_height is not None,
        "mirror_averaging (which averages probabilities)": switch(mirror_averaging, "--mirror_averaging"),
        "formats that need probabilities (probabilities, geojson, dicom_seg, findings)": needs_logits,
    }
    hindered = [text for text, applies in reasons.items() if applies]
    if wish is None:
        return not hindered
    if switch(wish, "--only_labels") and hindered:
        raise UserError(f"--only_labels true does not go with {' and '.join(hindered)}")
    return switch(wish, "--only_labels")
