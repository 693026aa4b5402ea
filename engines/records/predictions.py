"""Small label maps of a few subjects and of the worst images, kept with every result for comparison (Figure 8)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from engines.base.world import is_main
from engines.records.panels import shrunk
from transforms.dataset import VOID
from transforms.palette import PALETTE, RGB, VOID_COLOUR, picture

if TYPE_CHECKING:
    from ignite.engine import Engine


class SamplePredictions:
    """Evaluator handler: keeps the first image of each of the first subjects, and the worst, with truth and prediction.

    Needs decollated batches with `subject` and `case`, outputs with `image` (C, h, w), `label` and `pred` (1, H, W).
    Each of several processes sees its own share of the subjects; those of the first are kept.

    Args:
        subjects: number of subjects.
        worst: number of further images, those with the lowest mean Dice over the classes without background.
        height: maximum height of the pictures.
        num_classes: number of classes; values from it on are void.

    Attributes:
        images, truth, predictions: case → RGB (h, w, 3) or uint8 label map (h, w) of the last evaluation.
    """

    def __init__(self, num_classes: int, subjects: int = 6, height: int = 320, worst: int = 6) -> None:
        self.num_classes, self.subjects, self.height, self.worst = num_classes, subjects, height, worst
        self._start()

    def attach(self, engine: Engine) -> list[Any]:
        """Register on the evaluator; return the handles by which it can be removed."""
        from ignite.engine import Events  # imports torch.distributed, which a comparison does not need

        return [
            engine.add_event_handler(Events.STARTED, self._start),
            engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect),
        ]

    def _start(self) -> None:
        self.images: dict[str, RGB] = {}
        self.truth: dict[str, NDArray[np.uint8]] = {}
        self.predictions: dict[str, NDArray[np.uint8]] = {}
        self._seen: set[str] = set()
        self._poor: dict[str, float] = {}

    def _collect(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            case = item["case"]
            if item["subject"] not in self._seen and len(self._seen) < self.subjects:
                self._seen.add(item["subject"])
            elif self.worst and self._is_poor(score := mean_dice(output["label"], output["pred"], self.num_classes)):
                self._poor[case] = score
            else:
                continue
            image, truth, pred = shrunk(output, self.height)
            self.images[case] = picture(image)
            self.truth[case] = np.where(truth < self.num_classes, truth, VOID).astype(np.uint8)
            self.predictions[case] = pred.astype(np.uint8)
            if len(self._poor) > self.worst:
                self._drop(max(self._poor, key=self._poor.__getitem__))

    def _is_poor(self, score: float) -> bool:
        return len(self._poor) < self.worst or score < max(self._poor.values())

    def _drop(self, case: str) -> None:
        del self._poor[case], self.images[case], self.truth[case], self.predictions[case]

    def write(self, folder: Path, name: str) -> None:
        """Write the pictures to folder/image, folder/truth and, the predictions, folder/<name>."""
        write_images(folder / "image", self.images)
        write_label_maps(folder / "truth", self.truth)
        write_label_maps(folder / name, self.predictions)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the predictions in a form that a checkpoint can hold."""
        return {case: torch.from_numpy(pred.copy()) for case, pred in self.predictions.items()}


def mean_dice(truth: torch.Tensor, prediction: torch.Tensor, num_classes: int) -> float:
    """Return the mean Dice of one image over the classes, without the first, in truth or prediction; 1 if none occurs.

    Args:
        truth, prediction: (1, H, W) label maps; values of the truth from `num_classes` on are void.
    """
    valid = truth < num_classes
    truth, prediction = truth[valid].long(), prediction[valid].long()
    counts = [torch.bincount(part, minlength=num_classes)[1:num_classes] for part in (truth, prediction)]
    shared = torch.bincount(truth[truth == prediction], minlength=num_classes)[1:num_classes]
    sizes = counts[0] + counts[1]
    there = sizes > 0
    return float((2 * shared[there] / sizes[there]).mean()) if bool(there.any()) else 1.0


def write_label_maps(folder: Path, maps: Mapping[str, NDArray[np.uint8] | torch.Tensor]) -> None:
    """Write folder/<case>.png with classes as gray values and a palette; other pictures there are removed."""
    if not is_main():
        return
    _empty(folder)
    for case, labels in maps.items():
        image = Image.fromarray(np.asarray(labels, dtype=np.uint8))
        colours = [PALETTE[c % len(PALETTE)] for c in range(VOID)] + [VOID_COLOUR]
        image.putpalette([value for colour in colours for value in colour])
        image.save(folder / f"{case}.png", optimize=True)


def write_images(folder: Path, images: Mapping[str, RGB]) -> None:
    """Write folder/<case>.png; other pictures there are removed."""
    if not is_main():
        return
    _empty(folder)
    for case, image in images.items():
        Image.fromarray(image).save(folder / f"{case}.png", optimize=True)


def _empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
