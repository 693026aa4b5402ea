"""Lesions are counted by the training's classes and rule in later steps, unless options specify others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.records.tables import read_csv

Run = Callable[..., None]
COUNTED = {"lesion_class": "gland", "hit": "overlap", "min_lesion_size": 4, "min_lesion_score": 0.2}


def test_evaluation_and_inference_count_like_the_training(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_bundle(dataset_dir=str(tiny_dataset), max_epochs=1, stages=["front"], **COUNTED)
    out = tmp_path / "out"
    folder = out / "eval" / "tiny-validation"

    def evaluated(**options: object) -> tuple[dict[str, object], str]:
        capfd.readouterr()
        run_bundle("evaluate", dataset_dir=str(tiny_dataset), **options)
        held = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["lesions"]
        return held, capfd.readouterr().out

    held, said = evaluated()
    assert (folder / "lesions-front.json").read_text() == (out / "eval" / "lesions-front.json").read_text()
    assert (held["classes"], held["hit"], held["min_lesion_size"]) == (["gland"], "overlap", 4)
    assert held["min_lesion_score"] == 0.2
    assert "lesions   gland (as in the training)" in said
    assert "a hit is: at least one shared pixel (as in the training); " in said
    assert "lesions of fewer than 4 pixels are void (as in the training); " in said
    assert "candidates are kept from a score of 0.2 on (as in the training)" in said
    held, said = evaluated(lesion_class="tumor", hit="iou", min_lesion_size=0, min_lesion_score=0.5)
    assert (held["classes"], held["hit"], held["min_lesion_size"]) == (["tumor"], "iou", 0)
    assert "lesions   tumor (by --lesion_class)" in said
    assert "a hit is: IoU of at least 0.1 (by --hit); lesions of any size count (by --min_lesion_size)" in said
    held, said = evaluated(lesion_class="$None")
    assert "lesions   tumor (by name)" in said

    for given, name, said in ((None, "gland", "(as in the training)"), ("tumor", "tumor", "(by --lesion_class)")):
        results = tmp_path / name
        options = {} if given is None else {"lesion_class": given}
        capfd.readouterr()
        run_bundle(
            "inference", dataset_dir=str(tiny_dataset), results_dir=str(results), formats=["findings"], threshold=0.05,
            **options,
        )  # fmt: skip
        assert f"lesions   {name} {said}" in capfd.readouterr().out
        found = {row["largest_lesion_class"] for row in read_csv(results / "findings.csv")}
        assert found == {name}


def test_weights_of_an_older_version_state_no_rule(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_bundle(dataset_dir=str(tiny_dataset), max_epochs=1, stages=["front"])
    path = tmp_path / "out" / "models" / "model.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for name in COUNTED:
        del settings[name]
    path.write_text(json.dumps(settings), encoding="utf-8")
    capfd.readouterr()
    run_bundle("evaluate", dataset_dir=str(tiny_dataset))
    said = capfd.readouterr().out
    assert "lesions   tumor (by name)" in said
    assert "rule      " not in said
    run_bundle("inference", dataset_dir=str(tiny_dataset), results_dir=str(tmp_path / "res"), formats=["findings"])
    assert (tmp_path / "res" / "findings.csv").is_file()
