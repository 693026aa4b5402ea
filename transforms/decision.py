"""Class scores to a class: the highest probability, or a threshold on the lesion probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Decision:
    """A pixel is a lesion if the summed probability of the lesion classes reaches a threshold.

    It is then assigned the best of the lesion classes, otherwise the best of the other classes.

    Attributes:
        lesions: numbers of the lesion classes.
        threshold: above 0, at most 1.
    """

    lesions: tuple[int, ...]
    threshold: float

    def __call__(self, scores: Tensor) -> Tensor:
        """Logits (C, h, w) → uint8 (1, h, w)."""
        found = lesion_probability(scores, self.lesions) >= self.threshold
        others = [c for c in range(scores.shape[0]) if c not in self.lesions]
        if not others:
            return most_likely(scores)
        classes = [torch.tensor(numbers, device=scores.device) for numbers in (self.lesions, others)]
        best, other = (numbers[scores[numbers].max(dim=0).indices] for numbers in classes)
        return torch.where(found, best, other)[None].to(torch.uint8)


def lesion_probability(scores: Tensor, lesions: Sequence[int]) -> Tensor:
    """Summed softmax probability of the lesion classes: logits (C, h, w) → float32 (h, w)."""
    return torch.softmax(scores.float(), dim=0)[list(lesions)].sum(dim=0).clamp_(max=1)  # rounding may exceed 1


def most_likely(scores: Tensor) -> Tensor:
    """Class with the highest score, the first of equal ones: (C, h, w) → uint8 (1, h, w)."""
    return scores.max(dim=0, keepdim=True).indices.to(torch.uint8)  # on a CPU, many times faster than argmax


def decide(scores: Tensor, decision: Decision | None) -> Tensor:
    """Class map by `decision`; None takes the most likely class."""
    return most_likely(scores) if decision is None else decision(scores)
