"""Scores by group in an evaluation, and in the tables of folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dataset_factory import make_dataset
from ensemble_factory import make_training
from refusals import refused

from engines.records.tables import read_csv
from transforms.dataset import Dataset

Run = Callable[..., None]


def test_an_evaluation_by_group(run_bundle: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = make_dataset(tmp_path / "data", subjects=12)
    make_training(tmp_path / "out", Dataset.load(folder))
    table = tmp_path / "a.csv"
    table.write_text("subject,density,name\n" + "".join(f"s{n:03d},{'AB'[n % 2]},Mary\n" for n in range(12)))
    words = {"bundle": "fcn", "dataset_dir": str(folder), "section": "training", "attributes": str(table)}
    run_bundle("evaluate", **words)
    out = tmp_path / "out" / "eval" / "tiny-training"
    rows = read_csv(out / "groups.csv")
    assert [(row["group"], row["subjects"]) for row in rows if row["attribute"] == "density"] == [
        ("A", "5"),
        ("B", "5"),
    ]
    assert all(0 <= float(row["lesion_dice"]) <= 1 for row in rows if row["attribute"] == "density")
    assert "density A" in capfd.readouterr().out
    table.write_text("subject,density\nMary,A\n")
    with refused("--attributes: has no row for any of the 10 images of the training section of tiny"):
        run_bundle("evaluate", **words)
