"""Selection of rows from the store and from files."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from engines.scoring.matching import Rule
from scripts.comparison.choice import Filters, chosen
from scripts.comparison.store import NoStore, Result, Store
from transforms.dataset import Dataset
from transforms.errors import UserError


@dataclass(frozen=True)
class PeerOptions:
    """Options of the command line; see `Peers`."""

    predictions: Sequence[str] = ()
    dataset_dir: Path | None = None
    lesion_class: str | None = None
    hit: str | None = None
    min_lesion_size: int | None = None

    @property
    def rule(self) -> Rule | None:
        """Rule for counting lesions; None for that of the other rows."""
        if self.hit is None and self.min_lesion_size is None:
            return None
        return Rule(self.hit or "iou", self.min_lesion_size or 0)


@contextmanager
def chosen_with_peers(
    uri: str, experiment: str, filters: Filters, options: PeerOptions
) -> Iterator[tuple[Store, list[Result]]]:
    """Yield the store and the results to compare; pictures of files exist inside the block.

    Raises:
        UserError: as in `chosen` and `peer_rows`.
    """
    if not options.predictions or options.dataset_dir is None:
        store = Store(uri, experiment)
        yield store, chosen(store, filters)
        return
    from scripts.comparison.peers.peer_scores import Peers, parsed, peer_rows  # seconds: torch, DICOM, graphics

    folders, rule = parsed(options.predictions), options.rule
    data = Dataset.load(options.dataset_dir)
    filters = replace(filters, datasets=filters.datasets or (data.name,))
    store, results = _of_store(uri, experiment, filters)
    others = [result for result in results if result.dataset == data.name]
    with tempfile.TemporaryDirectory() as pictures:
        peers = Peers(folders, data, filters.section, filters.cross, Path(pictures), options.lesion_class, rule)
        yield store, [*results, *peer_rows(peers, others)]


def _of_store(uri: str, experiment: str, filters: Filters) -> tuple[Store, list[Result]]:
    """Return store and results if available; label maps may also be compared only with each other."""
    try:
        store = Store(uri, experiment)
    except UserError as error:
        print(f"label maps only: {error}", file=sys.stderr)
        return NoStore(), []
    try:
        return store, chosen(store, filters)
    except UserError as error:
        print(f"label maps only: {error}", file=sys.stderr)
        return store, []
