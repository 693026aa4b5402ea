"""Results of a bundle's training and evaluation, on disk and in MLflow, for comparison and sharing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lesion_definition import curve
from mlflow.tracking import MlflowClient
from PIL import Image
from refusals import refused
from scipy.ndimage import label

from engines.records.tables import read_csv
from engines.scoring.metrics import scores
from transforms.working_resolution import upsampled_probability

Run = Callable[..., None]
STAGES = ("front", "context")


@pytest.fixture
def client(store: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{store}")


def runs(client: MlflowClient, **tags: str) -> list[Any]:
    found = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    return [r for r in found if all(r.data.tags.get(key) == value for key, value in tags.items())]


def artifacts(client: MlflowClient, run_id: str, folder: str) -> set[str]:
    return {Path(a.path).name for a in client.list_artifacts(run_id, folder)}


def test_every_stage_and_every_evaluation_leaves_its_matrices(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, client: MlflowClient, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"dataset_dir": str(tiny_dataset)}
    run_bundle(**options, stages=list(STAGES), max_epochs=1, tags={"site": "a"})
    out = tmp_path / "out" / "eval"
    rows = {row["model"]: row for row in read_csv(out / "scores.csv")}
    for stage in STAGES:
        kept = json.loads((out / f"confusion-{stage}.json").read_text(encoding="utf-8"))
        assert list(kept["subjects"]) == ["s004", "s005"]
        total = sum(np.array(matrix) for matrix in kept["subjects"].values())
        assert total.sum() == 2 * 40 * 32
        assert scores(total)["mean_iou"] == pytest.approx(float(rows[stage]["mean_iou"]), abs=1e-12)
        (run,) = runs(client, kind="stage", stage=stage, site="a")
        assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 1  # one an epoch, none an iteration
        wanted = {f"confusion-{stage}.json", f"confusion-{stage}.png", f"classes-{stage}.png", "predictions"}
        wanted |= {f"lesions-{stage}.json", f"boundary-{stage}.json"}
        assert "best/lesion_sensitivity_at_1fp" in run.data.metrics
        assert artifacts(client, run.info.run_id, "eval") == wanted
        assert artifacts(client, run.info.run_id, f"eval/predictions/{stage}") == {"s004_L_CC.png", "s005_L_CC.png"}
    (parent,) = runs(client, kind="training", site="a")
    files = artifacts(client, parent.info.run_id, "eval")
    assert json.loads((out / "split.json").read_text())["validation"] == ["s004", "s005"]
    assert {
        "config.json",
        "split.json",
        "confusion-front.json",
        "confusion-context.json",
        "predictions",
        "scores.csv",
        "images.csv",
        "froc.csv",
    } <= files
    assert artifacts(client, parent.info.run_id, "eval/predictions") == {"image", "truth", *STAGES}
    config = (out / "config.json").read_text(encoding="utf-8")
    assert json.loads(config)["stages"] == list(STAGES)
    assert str(tmp_path) not in config
    assert " at 0x" not in config
    truth = np.asarray(Image.open(out / "predictions" / "truth" / "s004_L_CC.png"))
    assert np.array_equal(truth, np.load(tiny_dataset / "labels" / "s004_L_CC.npy"))

    run_bundle("evaluate", **options, tolerance=2)
    said = capfd.readouterr().out
    assert "Lesions (tumor): 2 in 2 of 2 images, 2 of 2 subjects; a hit is: IoU of at least 0.1." in said
    assert "lesions found, by false positives per image: " in said
    assert "normalized surface Dice at 2 mm, 95th percentile of the Hausdorff distance in mm" in said
    again = json.loads((out / "tiny-validation" / "confusion-context.json").read_text(encoding="utf-8"))
    first = json.loads((out / "confusion-context.json").read_text(encoding="utf-8"))
    assert again == first
    (run,) = runs(client, kind="evaluation", stage="context", section="validation")
    tables = {"images.csv", "lesions.csv", "candidates.csv", "froc.csv", "lesion_scores.csv", "boundary.csv"}
    assert {*tables, "boundary_scores.csv"} <= artifacts(client, run.info.run_id, "eval")
    assert [name for name in run.data.metrics if name.endswith(("_low", "_high"))] == []  # no charts of intervals
    assert "lesion_false_positives_per_image" in run.data.metrics
    lesions = [json.loads((folder / "lesions-context.json").read_text()) for folder in (out, out / "tiny-validation")]
    assert lesions[0] == lesions[1]
    assert [row["case"] for row in read_csv(out / "tiny-validation" / "images.csv")] == ["s004_L_CC", "s005_L_CC"]

    held = json.loads((out / "tiny-validation" / "evaluation.json").read_text(encoding="utf-8"))
    assert held["training"]["run_id"] == parent.info.run_id == run.data.tags["training_run_id"]
    digest = hashlib.sha256((tmp_path / "out" / "models" / "model.pt").read_bytes()).hexdigest()
    assert held["training"]["weights_sha256"] == digest == run.data.tags["weights_sha256"]
    assert (held["training"]["recipe"], held["data"]["section"]) == ("quick", "validation")
    assert held["lesions"]["classes"] == ["tumor"]
    assert run.data.params["recipe"] == "quick"
    assert f"of run {parent.info.run_id}: recipe quick, seed 0, trained on tiny" in said

    run_bundle("evaluate", **options, lesion_class="none")
    assert not (out / "tiny-validation" / "lesions.csv").exists()
    with refused("--lesion_class cyst: unknown class; choose from background, gland, tumor, none"):
        run_bundle("evaluate", **options, lesion_class="cyst")


def test_a_resumed_training_keeps_the_matrices_of_its_best_epoch(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, client: MlflowClient
) -> None:
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front"], "patience": 0}
    run_bundle(**options, max_epochs=1, learning_rate=0.01)
    first = (tmp_path / "out" / "eval" / "confusion-front.json").read_text(encoding="utf-8")
    progress = tmp_path / "out" / "models" / "progress.pt"
    saved = torch.load(progress, weights_only=True)
    assert set(saved["best"]["confusion"]) == {"s004", "s005"}
    saved["best"]["scores"]["mean_iou"] = 1.0  # no later epoch is better
    torch.save(saved, progress)
    (tmp_path / "out" / "eval" / "confusion-front.json").unlink()
    run_bundle(**options, max_epochs=2, learning_rate=0.01, resume=True)
    (stage,) = runs(client, kind="stage")
    path = client.download_artifacts(stage.info.run_id, "eval/confusion-front.json", str(tmp_path))
    assert Path(path).read_text(encoding="utf-8") == first


def test_an_unreachable_server_is_told_before_the_first_epoch_and_costs_nothing_else(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_bundle(dataset_dir=str(tiny_dataset), stages=["front"], max_epochs=1, tracking_uri="http://127.0.0.1:9")
    said = capfd.readouterr().out
    assert said.index("http://127.0.0.1:9 does not answer") < said.index("Stage front: up to 1 epochs")
    assert said.count("does not answer") == 1
    assert (tmp_path / "out" / "eval" / "confusion-front.json").is_file()
    assert (tmp_path / "out" / "eval" / "scores.csv").is_file()


def test_the_curve_of_a_run_is_that_of_its_probabilities(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[np.ndarray] = []

    def saving(*args: Any) -> torch.Tensor:
        probability = upsampled_probability(*args)
        saved.append(probability.numpy().copy())
        return probability

    run_bundle(dataset_dir=str(tiny_dataset), stages=["front"], max_epochs=2)
    monkeypatch.setattr("engines.scoring.lesions.upsampled_probability", saving)
    run_bundle("evaluate", dataset_dir=str(tiny_dataset), section="training")
    labels = [np.load(path) == 2 for path in sorted((tiny_dataset / "labels").glob("*.npy"))[:4]]
    points = read_csv(tmp_path / "out" / "eval" / "tiny-training" / "froc.csv")
    lesions = sum(label(truth, np.ones((3, 3)))[1] for truth in labels)
    expected = [(t, found / lesions, false / 4) for t, found, false in curve(list(zip(labels, saved, strict=True)))]
    columns = ("threshold", "sensitivity", "false_positives_per_image")
    read = [tuple(float(point[name]) for name in columns) for point in points]
    np.testing.assert_allclose(read, expected, rtol=0, atol=1e-12)
