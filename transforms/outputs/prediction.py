"""One segmented image, the input of every output format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from transforms.outputs.found_lesions import FoundLesion, found_lesions
from transforms.outputs.regions import Region, find_regions
from transforms.vocabulary import is_lesion
from transforms.working_resolution import upsampled_probability

if TYPE_CHECKING:
    from transforms.candidates import Candidate

FINDINGS = "findings.csv"


@dataclass(frozen=True, eq=False)
class Prediction:
    """The segmentation of one image, in the pixel grid of its file.

    Attributes:
        label: class of each pixel, uint8 (rows, columns); 0 is background.
        classes: name of each class, from 0 on.
        folder: output folder of the results.
        name: name of the image below `folder`, without suffix: "sub/a" gives `folder/sub/a_seg.nii.gz`.
        spacing_mm: (row, column) distance of pixel centers, or None if unknown.
        image: normalized image (1 or 3, h, w) at the working resolution.
        logits: (classes, h, w) at the working resolution, or None if they were not kept.
        facts: "path", "laterality", "view", "spacing_source", "spacing_known" and "burned_in" of the file, as text, ""
            if unknown.
        algorithm: "network", "stage" and "weights" (path, or a list of them), as text.
        lesions: numbers of the lesion classes; None for those that `transforms.vocabulary` knows.
        min_lesion_score: candidates from this score on are the listed lesions, with or without pixels in the mask; None
            lists those with pixels in the mask.
        disagreement: disagreement in an ensemble, float32 (rows, columns), see `engines.inference.ensemble`; None for a
            single network.
        source_values: gray value of each class in the label images of the training data, or None.
        table: file name of the findings table.
    """

    label: NDArray[np.uint8]
    classes: tuple[str, ...]
    folder: Path
    name: str
    spacing_mm: tuple[float, float] | None = None
    image: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    algorithm: Mapping[str, Any] = field(default_factory=dict)
    source_values: tuple[int, ...] | None = None
    lesions: tuple[int, ...] | None = None
    min_lesion_score: float | None = None
    disagreement: NDArray[np.float32] | None = None
    table: str = FINDINGS

    def path(self, ending: str) -> Path:
        """Path `folder/name` with the ending; creates its folder."""
        base = self.folder / self.name
        base.parent.mkdir(parents=True, exist_ok=True)
        return base.with_name(base.name + ending)

    @property
    def pixel_mm2(self) -> float | None:
        """Area of a pixel in mm², or None if the spacing is unknown."""
        return None if self.spacing_mm is None else self.spacing_mm[0] * self.spacing_mm[1]

    @cached_property
    def probabilities(self) -> NDArray[np.float32] | None:
        """Probability of each class, (classes, h, w) at the working resolution; None without logits."""
        if self.logits is None:
            return None
        values: NDArray[np.float32] = torch.softmax(self.logits.detach().float(), dim=0).cpu().numpy()
        return values

    @cached_property
    def regions(self) -> tuple[NDArray[np.int32], list[Region]]:
        """Region map and regions, see `find_regions`.

        Lesions are the candidates; without logits, the 8-connected components of all lesion classes in the mask.
        """
        candidates, owners = self._candidates
        scores = None if candidates is None else [candidate.score for candidate in candidates]
        return find_regions(self.label, self.probabilities, owners, scores)

    @cached_property
    def found_lesions(self) -> list[FoundLesion]:
        """The lesions to list, see `transforms.outputs.found_lesions.found_lesions`."""
        shape = (int(self.label.shape[0]), int(self.label.shape[1]))
        scored = (self._candidates[0], self.min_lesion_score, self.probabilities)
        return found_lesions(self.regions[1], *scored, self.lesion_classes, shape)

    @cached_property
    def _candidates(self) -> tuple[list[Candidate] | None, NDArray[np.int32] | None]:
        """Candidates, and the number of the lesion that each pixel of the mask belongs to; None if unknown."""
        from skimage.measure import label as components

        from transforms.candidates import divided

        lesions = self.lesion_classes
        if not lesions:
            return None, None
        mask = np.isin(self.label, lesions)
        if self.logits is None:
            return None, components(mask, connectivity=2).astype(np.int32)
        size = (int(self.label.shape[0]), int(self.label.shape[1]))
        candidates, owners = divided(upsampled_probability(self.logits.detach(), lesions, size).numpy())
        return candidates, np.where(mask, owners, 0)

    @property
    def lesion_classes(self) -> tuple[int, ...]:
        """Numbers of the classes whose regions are lesions."""
        if self.lesions is not None:
            return self.lesions
        return tuple(number for number, name in enumerate(self.classes) if number and is_lesion(name))

    def is_listed(self, region: Region) -> bool:
        """Whether a region is outlined: always, unless its lesion's score is too low, or it belongs to no candidate."""
        lowest = self.min_lesion_score
        if lowest is None or self.logits is None or region.label not in self.lesion_classes:
            return True
        return region.score is not None and region.score >= lowest
