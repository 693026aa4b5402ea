"""Which class the values of a tool's label maps mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transforms.dataset import Dataset, listed
from transforms.errors import UserError


class Values:
    """Class numbers, or the gray values of the data set's own label images; one of them in all files.

    Args:
        option: how messages name the files' origin.
    """

    def __init__(self, data: Dataset, option: str) -> None:
        self.names, self.option = data.class_names, option
        self.source = data.source_values or []
        self.numbered: Path | None = None
        self.sourced: Path | None = None

    def classes(self, path: Path, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class numbers of one label map.

        Raises:
            UserError: a value that is neither, or files of both kinds.
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
                "write all label maps alike"
            )
        if number:
            return values
        table = np.zeros(256, np.uint8)
        table[self.source] = np.arange(len(self.source), dtype=np.uint8)
        return table[values]
