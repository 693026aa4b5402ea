"""Class-balanced sampling across images: a class, then an image that contains it, then one of its pixels.

The paper's rule (section 3.1.2, `transforms.crops`) visits all images equally often and balances the classes within
each: a class that few images hold stays rare. Here the class is drawn first. A stated share of the crops comes from
anywhere in any image, normal ones included, so that a network also learns where nothing is.
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
    """Draws what a crop shows: an image and a class, each by a seed of its own.

    With a probability of `anywhere` a crop is placed uniformly in an image drawn uniformly. Otherwise a class is drawn
    uniformly among those that some image holds, except the `ubiquitous` ones (all but the most frequent class if no
    other is left), then an image uniformly among those that hold it; `RandBalancedCropd` then draws one of its pixels
    uniformly. Which images hold a class is read once, from the row counts beside the labels; a draw costs the same for
    any number of images.

    With `others`, the crops that are not of a rare class show one of those in the same way, in place of just anywhere:
    tissue in which a lesion might be, and not the empty background.

    Args:
        data: items with the path of a label map.
        num_classes: labels are 0 … num_classes - 1.
        ubiquitous: classes that are in nearly every crop and therefore not drawn, most frequent first.
        anywhere: share of the crops that are placed anywhere, from 0 to 1.
        others: classes that these crops show; empty for any place.
        label_key: key of the label's path.
        files: of their data set, which knows what labels hold from the check before a training; None reads the row
            counts.
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
        """Paths of the label maps, made when they are needed: of several samplings a training takes one."""
        return [str(path) for path in paths_of(self._data, self._label_key)]

    def prepare(self) -> None:
        """Read which images hold which class, if that was not done yet.

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
        """Which classes each label map holds: (number, classes)."""
        from tqdm.auto import tqdm  # not where nothing is drawn by class, see scripts.benchmark gpu

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
        """Index of an item, and the class that its crop is centered on, or `ANYWHERE`."""
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
