"""Early stopping counts validations."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_factory import staged_training

from engines.records.tables import read_csv
from engines.training.early_stopping import without_effect
from engines.training.plan import Stage


def test_patience_counts_validations(tiny_dataset: Path, tmp_path: Path) -> None:
    """No score improves by 1: validations after epochs 3, 6 and 9; of a later stage before epoch 1, after 3 and 6."""
    out = tmp_path / "out"
    training = staged_training(tiny_dataset, out, epochs=10, val_interval=3, patience=2, min_delta=1.0)
    training.prepare()
    training.run()
    rows = read_csv(out / "eval" / "epochs.csv")
    assert [sum(row["stage"] == stage.name for row in rows) for stage in training.plan] == [9, 6]
    assert without_effect(training.plan, 2, 3) is None


@pytest.mark.parametrize(
    ("epochs", "patience", "interval", "named"),
    [
        ([10, 7], 2, 3, []),
        ([9, 7], 2, 3, ["a (max_epochs 9)"]),
        ([10, 6], 2, 3, ["b (max_epochs 6)"]),
        ([9, 6], 2, 3, ["a (max_epochs 9)", "b (max_epochs 6)"]),
        ([3], 2, 1, ["a (max_epochs 3)"]),
        ([4], 2, 1, []),
        ([1, 1], 0, 10, []),
    ],
)
def test_stages_too_short_for_their_patience(epochs: list[int], patience: int, interval: int, named: list[str]) -> None:
    plan = [Stage(name, number, 16, 0.1) for name, number in zip("ab", epochs, strict=False)]
    note = without_effect(plan, patience, interval)
    if not named:
        assert note is None
    else:
        assert note is not None
        assert note.startswith(f"--patience {patience} never ends these stages early: {', '.join(named)}; it counts")
