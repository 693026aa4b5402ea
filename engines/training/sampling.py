"""Class-balanced sampling across images: a class, then an image that contains it, then one of its pixels.

The paper's rule (section 3.1.2, `transforms.crops`) visits all images equally often and balances the classes within
each image: a class in few images stays rare. Here the class is drawn first. A specified share of the crops comes from
anywhere in any image, including normal ones, so that a network also learns from images without findings.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base.world import is_main
from transforms.crops import ANYWHERE
from transforms.dataset import open_array
from transforms.dataset_items import paths_of
from transforms.known_files import VALUES, KnownFiles
from transforms.row_counts import kept_row_counts, row_counts

logger = logging.getLogger("mammoseg")


class ClassSampling:
    """Draws the image and the class of a crop, each crop with its own seed.

    With probability `anywhere` a crop is placed uniformly in a uniformly drawn image. Otherwise a class is drawn
    uniformly among those that occur, except the `ubiquitous` ones (all but the most frequent class if no other is
    left), then an image uniformly among those with the class; `RandBalancedCropd` then draws one of its pixels
    uniformly. Which images have a class is read once, from the row counts beside the labels; the cost of a draw does
    not depend on the number of images.

    With `others`, the crops that are not of a rare class show one of these classes in the same way, instead of being
    placed anywhere: tissue that may contain a lesion rather than empty background.

    Args:
        data: items with the path of a label map.
        num_classes: labels are 0 … num_classes - 1.
        ubiquitous: classes that are in nearly every crop and therefore not drawn, most frequent first.
        anywhere: share of crops placed anywhere, from 0 to 1.
        others: classes that these crops show; empty for any position.
        label_key: key of the label's path.
        files: files of their data set, with the label values known from the check before a training; None reads the
            row counts.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        num_classes: int,
        ubiquitous: Sequence[int] = (),
        anywhere: float = 0.5,
        label_key: str = "label",
        others: Sequence[int] = (),
        files: KnownFiles | None = None,
    ) -> None:
        if not 0 <= anywhere <= 1:
            raise ValueError(f"anywhere must be from 0 to 1, got {anywhere}")
        self._data, self._label_key = data, label_key
        self.num_classes = num_classes
        self.ubiquitous = tuple(ubiquitous)
        self.anywhere = float(anywhere)
        self.others = tuple(others)
        self.files = files
        self._images: dict[int, NDArray[np.int64]] | None = None
        self._elsewhere: dict[int, NDArray[np.int64]] = {}

    @cached_property
    def labels(self) -> list[str]:
        """Paths of the label maps, made when needed: a training uses only one of several samplings."""
        return [str(path) for path in paths_of(self._data, self._label_key)]

    def prepare(self) -> None:
        """Read which images have which class, unless already done.

        Raises:
            UserError: a label map is missing or broken.
        """
        if self._images is not None:
            return
        holds = self._holds() if self.files is None else self._known(self.files)
        images = {cls: np.flatnonzero(holds[:, cls]) for cls in range(self.num_classes) if holds[:, cls].any()}
        rare = [cls for cls in images if cls not in self.ubiquitous]
        drawn = rare or [cls for cls in images if cls not in self.ubiquitous[:1]]
        self._images = {cls: images[cls] for cls in drawn}
        self._elsewhere = {cls: images[cls] for cls in self.others if cls in images}
        if not drawn:
            logger.warning("Sampling by class: no image holds a rarer class, so all crops are placed anywhere.")

    def _known(self, files: KnownFiles) -> NDArray[np.bool_]:
        return files.values(files.look(files.names(self.labels), VALUES))[:, : self.num_classes]

    def _holds(self) -> NDArray[np.bool_]:
        """Return which classes each label map has: (number, classes)."""
        from tqdm.auto import tqdm  # only needed if classes are drawn, see scripts.benchmark gpu

        shown = tqdm(self.labels, desc="reading row counts", delay=2, leave=False, disable=not is_main())
        return np.array([self._classes_in(path) for path in shown], bool).reshape(-1, self.num_classes)

    def _classes_in(self, path: str) -> NDArray[np.bool_]:
        label = open_array(path)
        counts = kept_row_counts(path, label, self.num_classes)
        return np.asarray((row_counts(label, self.num_classes) if counts is None else counts).any(axis=1))

    @property
    def classes(self) -> list[int]:
        """The classes that are drawn."""
        self.prepare()
        assert self._images is not None
        return list(self._images)

    def draw(self, seed: int) -> tuple[int, int]:
        """Return the index of an item, and the class that its crop is centered on, or `ANYWHERE`."""
        classes = self.classes
        assert self._images is not None
        random = np.random.RandomState(seed)
        held = self._images
        if random.random_sample() < self.anywhere or not classes:
            if not self._elsewhere:
                return int(random.randint(len(self.labels))), ANYWHERE
            held, classes = self._elsewhere, list(self._elsewhere)
        cls = classes[random.randint(len(classes))]
        return int(held[cls][random.randint(len(held[cls]))]), cls
