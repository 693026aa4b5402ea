"""The committed folds of public data sets are those that `scripts.crossval` deals."""

from __future__ import annotations

import csv
from pathlib import Path

from scripts.importers.writing.split import folds_of

FOLDS = Path(__file__).parents[2] / "docs" / "folds"


def test_cdd_cesm_has_five_folds_by_woman() -> None:
    with (FOLDS / "cdd-cesm.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # `prepare folder` numbers subjects in the order of their file names, P106_L_DM_MLO before P1_L_DM_MLO
    names = sorted((row["woman"] for row in rows), key=lambda woman: f"{woman}_")
    assert [(row["woman"], row["subject"]) for row in rows] == [(n, f"s{i:03d}") for i, n in enumerate(names, start=1)]
    dealt = folds_of((row["subject"] for row in rows), 5, seed=0)
    found = [[row["subject"] for row in rows if row["fold"] == str(number)] for number in range(1, 6)]
    assert found == dealt
    assert [len(fold) for fold in dealt] == [21, 20, 20, 20, 20]
