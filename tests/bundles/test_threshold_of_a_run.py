"""Operating point chosen on held-out training subjects, and its use in later steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusals import refused

from engines.records.tables import read_csv
from transforms.dataset import Dataset

Run = Callable[..., None]


def test_chosen_in_a_training_and_used_by_evaluation_and_inference(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"threshold_from": "training", "threshold_share": 0.5, "threshold_rule": "fp<=1", "stages": ["front"]}
    run_bundle(dataset_dir=str(tiny_dataset), max_epochs=1, **options)
    said = capfd.readouterr().out
    assert "chosen on 2 subjects (training subjects that were not trained with, rule fp<=1)" in said
    out = tmp_path / "out"
    point = json.loads((out / "models" / "model.json").read_text(encoding="utf-8"))["operating_point"]
    threshold = point["threshold"]
    assert 0 < threshold < 1
    assert (point["rule"], point["subjects"], point["lesion_classes"]) == ("fp<=1", 2, ["tumor"])
    held_out = json.loads((out / "eval" / "split.json").read_text(encoding="utf-8"))["held_out"]
    assert len(held_out) == 2
    assert set(held_out) < {item["subject"] for item in Dataset.load(tiny_dataset).items("training")}
    rows = [row["model"] for row in read_csv(out / "eval" / "scores.csv")]
    assert rows == ["all background", "front", f"front, threshold {threshold:g}"]

    run_bundle("evaluate", dataset_dir=str(tiny_dataset))
    folder = out / "eval" / "tiny-validation"
    assert (folder / "scores.csv").read_text() == (out / "eval" / "scores.csv").read_text()
    assert (folder / "lesions-front.json").read_text() == (out / "eval" / "lesions-front.json").read_text()
    run_bundle("inference", dataset_dir=str(tiny_dataset), results_dir=str(tmp_path / "kept"), formats=["findings"])
    _same_lesions(read_csv(folder / "candidates.csv"), read_csv(tmp_path / "kept" / "findings.csv"), point)
    run_bundle("evaluate", dataset_dir=str(tiny_dataset), threshold=0.9, min_lesion_score=0.1)
    assert [row["model"] for row in read_csv(folder / "scores.csv")][2:] == ["front, threshold 0.9"]
    held = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["lesions"]
    assert (held["min_lesion_score"], held["operating_point"]["chosen_on"]) == (0.1, "the command line")
    run_bundle("evaluate", dataset_dir=str(tiny_dataset), threshold="none")
    assert len(read_csv(folder / "scores.csv")) == 2
    with refused("--threshold 2: expected a probability above 0"):
        run_bundle("evaluate", dataset_dir=str(tiny_dataset), threshold=2)

    for given, name in ((0.001, "all"), (1.0, "none")):
        results = tmp_path / name
        formats = ["png", "findings", "geojson"]
        run_bundle(
            "inference", dataset_dir=str(tiny_dataset), results_dir=str(results), formats=formats, threshold=given
        )
        maps = [np.asarray(Image.open(path)) for path in sorted(results.glob("*_labels.png"))]
        assert len(maps) == 6
        shares = [(labels == 2).mean() for labels in maps]
        assert min(shares) > 0.9 if name == "all" else max(shares) == 0
    lesions = read_csv(tmp_path / "all" / "findings.csv")
    assert all(float(row["largest_lesion_score"]) >= 0.001 for row in lesions if row["lesions"] != "0")


def _same_lesions(candidates: list[dict[str, str]], findings: list[dict[str, str]], point: dict[str, float]) -> None:
    """Findings list the candidates that the evaluation keeps: in each image as many, with the same scores."""
    listed = {row["name"]: [float(score) for score in row["lesion_scores"].split()] for row in findings}
    cases = {candidate["case"] for candidate in candidates}
    assert cases
    for case in cases:
        scores = [float(each["score"]) for each in candidates if each["case"] == case]
        kept = [score for score in sorted(scores, reverse=True) if score >= point["min_lesion_score"]]
        assert listed[case] == pytest.approx(kept, abs=1e-4)


def test_who_is_held_out_does_not_change_on_resume(run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> None:
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front"], "threshold_from": "training"}
    run_bundle(max_epochs=1, threshold_share=0.34, **options)
    split = tmp_path / "out" / "eval" / "split.json"
    held_out = json.loads(split.read_text(encoding="utf-8"))["held_out"]
    for other, words in (
        ({"threshold_share": 0.7}, "threshold_share: 0.34 → 0.7"),
        ({"threshold_share": 0.34, "lesion_class": "gland"}, "lesion_class: None → gland"),
    ):
        with refused(words):
            run_bundle(max_epochs=2, resume=True, **options, **other)
    more = {"threshold_rule": "fp<=1", "hit": "overlap", "min_lesion_size": 2, "min_lesion_score": 0.1}
    run_bundle(max_epochs=2, resume=True, threshold_share=0.34, **options, **more)
    assert json.loads(split.read_text(encoding="utf-8"))["held_out"] == held_out
    point = json.loads((tmp_path / "out" / "models" / "model.json").read_text(encoding="utf-8"))["operating_point"]
    assert (point["rule"], point["subjects"]) == ("fp<=1", len(held_out))


def test_chosen_on_the_scored_subjects_is_said(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_bundle(dataset_dir=str(tiny_dataset), max_epochs=1, stages=["front"], threshold_from="validation")
    assert "chosen on the training's validation subjects, whose scores it favors." in capfd.readouterr().out
    for options, words in (
        ({"threshold_from": "test"}, "--threshold_from test: unknown source"),
        ({"threshold_from": "validation", "threshold_rule": "best"}, "--threshold_rule best: unknown rule"),
        ({"threshold_from": "validation", "lesion_class": "none"}, "--threshold_from: no class is a lesion"),
    ):
        with refused(words):
            run_bundle(dataset_dir=str(tiny_dataset), max_epochs=1, stages=["front"], **options)
