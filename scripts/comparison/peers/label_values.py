"""Mapping of the values in a tool's label maps to classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transforms.dataset import Dataset, listed
from transforms.errors import UserError


class Values:
    """Values of label maps: class numbers, or gray values of the data set's own label images; the same in all files.

    Args:
        option: origin of the files, for messages.
    """

    def __init__(self, data: Dataset, option: str) -> None:
        self.names, self.option = data.class_names, option
        self.source = data.source_values or []
        self.numbered: Path | None = None
        self.sourced: Path | None = None

    def classes(self, path: Path, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return class numbers of one label map.

        Raises:
            UserError: a value is neither, or there are files of both kinds.
        """
        seen = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
        number, source = max(seen) < len(self.names), set(seen) <= set(self.source)
        if not (number or source):
            both = f", or {listed(self.source)} as in its own label images" if self.source else ""
            raise UserError(
                f"{path}: holds the values {listed(seen)}; expected the class numbers 0 to {len(self.names) - 1} "
                f"({', '.join(self.names)}){both}"
            )
        if number and not (source and all(self.source.index(value) == value for value in seen)):
            self.numbered = self.numbered or path
        if source and not number:
            self.sourced = self.sourced or path
        if self.numbered and self.sourced:
            raise UserError(
                f"{self.option}: {self.numbered} holds class numbers, {self.sourced} gray values; "
                "use the same values in all label maps"
            )
        if number:
            return values
        table = np.zeros(256, np.uint8)
        table[self.source] = np.arange(len(self.source), dtype=np.uint8)
        return table[values]
