"""`scripts.ensemble`: averages the networks of each fold, with a threshold chosen on the ensemble's other folds."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ensemble_factory import make_training
from mlflow.tracking import MlflowClient

from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.scoring.confusion_files import identity, write_confusion_files
from engines.scoring.lesions import lesion_detection
from engines.scoring.matching import HIT, ImageLesions, Judged, Lesion
from scripts import compare as compare_command
from scripts import ensemble
from scripts.crossvalidation import fold_ensembles as work
from scripts.crossvalidation.folds import trained_subjects
from scripts.crossvalidation.state import Plan, fold_folder, save, set_finished
from scripts.crossvalidation.views import fold_views, write_view
from scripts.importers.writing.split import folds_of
from transforms.dataset import Dataset

FOLDS = 2


def leave_evidence(output: Output, data: Dataset, stage: str, good: int, level: int) -> list[Path]:
    """Matrices and lesions of every validation subject: `good` of 12 pixels right, probabilities around `level`."""
    matrices = {item["subject"]: np.diag([good, 4, 3]) + 1 for item in data.items("validation")}
    paths = write_confusion_files(output, stage, matrices, identity(data), "validation")
    detection = lesion_detection(data, "validation", {})
    assert detection is not None
    lesion, found = Lesion(50, 0.01, 9.0, (0, 0, 9, 9), 0.9, 0.5), (Judged(0.9, 81, (0, 0, 9, 9), HIT, 0),)
    bins = (((level, 4),), ((10, 80),))
    detection.images = [ImageLesions(s, f"{s}_L_CC", 4, 4, 2, (lesion,), found, bins) for s in matrices]
    return [*paths, detection.write_confusion_files(output, stage)]


@pytest.fixture
def crossvals(tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two finished cross-validations with the same folds."""
    monkeypatch.setattr("engines.scoring.confusion_files.save_figure", lambda figure, path: path)
    data = Dataset.load(tiny_dataset)
    views = fold_views(data, folds_of(trained_subjects(data), FOLDS, 0), 0)
    for bundle, stage in (("fcn", "fcn8"), ("dilation10", "front")):
        out = tmp_path / f"{bundle}-tiny"
        save(out, Plan(bundle, FOLDS, 0, data.digest, ()), None)
        for number, view in enumerate(views, start=1):
            folder = fold_folder(out, number)
            write_view(view, folder / "dataset")
            fold = Dataset.load(folder / "dataset")
            make_training(folder, fold, bundle, seed=number + len(bundle))
            output = Output(folder)
            leave_evidence(output, fold, stage, 5, 500)
            output.write_config({"stages": [stage], "hit": "iou", "min_lesion_size": 0})
            set_finished(out, number, {})
    return [str(tmp_path / "fcn-tiny"), str(tmp_path / "dilation10-tiny")]


class Evaluations:
    """Stand-in for the bundle's process that writes the files of an ensemble's evaluation."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.commands: list[dict[str, str]] = []
        self.code = 0

    def __call__(self, words: list[str], **_: Any) -> int:
        given = dict(zip(words[4::2], words[5::2], strict=True))
        self.commands.append(given)
        if self.code:
            return self.code
        tags = ast.literal_eval(given["--tags"])
        data = Dataset.load(given["--dataset_dir"])
        output = Output(given["--output_dir"], "tiny-validation-ensemble")
        about = {"bundle": "ensemble x", "title": "Ensemble of two", "order": "1000.0", "stage": "ensemble"}
        tracking = Tracking(
            "mammoseg", given["--run_name"], str(self.store), tags={**tags, **about, "kind": "evaluation"}
        )
        tracking.start()
        for path in leave_evidence(output, data, "ensemble", 9, 600 + int(tags["fold"])):
            tracking.log_artifacts(path, "eval")
        (output.eval / "evaluation.json").write_text("{}")
        tracking.end("FINISHED")
        return 0


@pytest.fixture
def evaluations(store: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluations:
    made = Evaluations(store)
    monkeypatch.setattr(work, "run_training", made)
    return made


Go = Callable[..., int]


@pytest.fixture
def go(evaluations: Evaluations, tmp_path: Path, store: Path) -> Go:
    return lambda *words: ensemble.main([*words, "--out", str(tmp_path / "e"), "--tracking_uri", str(store)])


def test_an_ensemble_is_a_row_beside_its_members(
    go: Go,
    crossvals: list[str],
    evaluations: Evaluations,
    tmp_path: Path,
    store: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    evaluations.code = 3
    assert go(*crossvals) == 2
    assert "fold 1 of 2 ended with code 3, see above; repeat the command to resume" in capsys.readouterr().err
    evaluations.code = 0
    assert go(*crossvals, "--threshold_rule", "dice", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in rows] == [
        "all background", "FCN8", "Dilation10 Front", "Ensemble of FCN8, Dilation10 Front",
    ]  # fmt: skip
    assert rows[3]["mean_iou"] > rows[2]["mean_iou"] == rows[1]["mean_iou"]
    assert rows[3]["subjects"] == 6
    command = evaluations.commands[-1]
    assert command["--hit"] == "iou"
    assert command["--min_lesion_size"] == "0"
    members = json.loads((tmp_path / "e" / "fold-2" / "ensemble.json").read_text())
    assert members["members"] == ["fcn=../../fcn-tiny/fold-2", "dilation10=../../dilation10-tiny/fold-2"]
    # of fold 2: chosen on fold 1, whose lesions lie at 0.601 and all else at 0.010, the middle between
    assert members["operating_point"]["threshold"] == pytest.approx(0.306, abs=0.001)
    assert members["operating_point"]["chosen_on"] == "the other fold, out of fold"
    assert [row["mean_image_dice"] for row in rows[1:]] == [1, 1, 1]
    assert [row["mean_image_dice_argmax"] for row in rows[1:]] == [0.5, 0.5, 0.5]  # 2 of 4 and 4 pixels
    done = len(evaluations.commands)
    assert go(*crossvals) == 0
    assert len(evaluations.commands) == done
    assert "Fold 2 of 2: scored earlier." in capsys.readouterr().err
    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    parent = next(run for run in runs if run.data.tags["kind"] == "crossval")
    assert parent.data.tags["mlflow.source.name"] == "scripts/ensemble.py"
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["ensemble/mean_iou"] == pytest.approx(rows[3]["mean_iou"])
    assert not [name for name in parent.data.metrics if name.startswith("fcn8/")]
    where = ["--tracking_uri", str(store), "--out", str(tmp_path / "c"), "--json", "--crossval"]
    assert compare_command.main([*where, "--threshold_rule", "dice"]) == 0
    compared = json.loads(capsys.readouterr().out)
    assert compared[1]["model"] == "Ensemble of two"
    for key in ("mean_iou", "mean_iou_low", "mean_image_dice", "mean_image_dice_argmax", "dataset_digest"):
        assert compared[1][key] == rows[3][key]


def test_folds_whose_runs_are_lost_are_scored_again(
    go: Go,
    crossvals: list[str],
    evaluations: Evaluations,
    tmp_path: Path,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert go(*crossvals) == 0
    evaluations.store = tmp_path / "another.db"
    again = [*crossvals, "--out", str(tmp_path / "e"), "--tracking_uri", str(evaluations.store)]
    assert ensemble.main(again) == 0
    assert len(evaluations.commands) == 2 * FOLDS
    assert (
        "Fold 2 of 2: scored earlier, but its run is not in the MLflow store; scored again." in capsys.readouterr().err
    )
    assert ensemble.main(again) == 0
    assert len(evaluations.commands) == 2 * FOLDS
    capsys.readouterr()
    assert compare_command.main(["--crossval", "--json", *again[-2:], "--out", str(tmp_path / "c")]) == 0
    assert json.loads(capsys.readouterr().out)[1]["model"] == "Ensemble of two"
    monkeypatch.setattr(work, "logged", lambda tracking: None)  # a store that does not answer
    assert ensemble.main(again) == 0
    assert len(evaluations.commands) == 2 * FOLDS


def test_what_is_no_ensemble_of_folds(
    go: Go, crossvals: list[str], tmp_path: Path, tiny_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: str) -> str:
        assert go(*words) == 2
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1
        return error

    first, second = crossvals
    assert "expected two trainings or more, got 1" in refused(first)
    assert "holds the same weights as" in refused(first, first)
    assert "no cross-validation here; expected a folder of scripts.crossval" in refused(first, str(tmp_path))
    assert "no cross-validation here" in refused(first, "nowhere")
    assert "--weights fcn9: not in" in refused(first, f"{first}:fcn9")
    assert "--threshold_rule iou: unknown rule" in refused(first, second, "--threshold_rule", "iou")
    view = json.loads((tmp_path / "fcn-tiny" / "fold-1" / "dataset" / "dataset.json").read_text())
    view["training"].append(view["validation"].pop())
    write_view(view, tmp_path / "dilation10-tiny" / "fold-1" / "dataset")
    assert "dilation10-tiny: fold 1 has other images than that of" in refused(first, second)
    (tmp_path / "dilation10-tiny" / "fold-2" / "finished.json").unlink()
    assert "dilation10-tiny: fold 2 of 2 is not finished; run its scripts.crossval again" in refused(first, second)
    save(tmp_path / "dilation10-tiny", Plan("dilation10", 1, 0, "", ()), None)
    assert "dilation10-tiny: has 1 folds, " in refused(first, second)
    assert not (tmp_path / "e").exists()


def test_thresholds_of_a_comparison_need_folds(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_command.main(["--threshold_rule", "dice", "--tracking_uri", str(store)]) == 2
    assert "--threshold_rule: applies to cross-validations; also give --crossval" in capsys.readouterr().err


@pytest.mark.slow
def test_the_evaluations_themselves(
    crossvals: list[str], tmp_path: Path, store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = [
        *crossvals,
        "--out",
        str(tmp_path / "e"),
        "--tracking_uri",
        str(store),
        "--threshold_rule",
        "dice",
        "--json",
    ]
    assert ensemble.main(words) == 0
    row = json.loads(capfd.readouterr().out)[3]
    assert row["model"] == "Ensemble of FCN8, Dilation10 Front"
    assert row["subjects"] == 6
    assert 0 <= row["mean_image_dice"] <= 1
    kept = json.loads((tmp_path / "e" / "fold-1" / "ensemble.json").read_text())
    assert kept["operating_point"]["chosen_on"] == "the other fold, out of fold"
    where = ["--tracking_uri", str(store), "--out", str(tmp_path / "c"), "--json", "--crossval"]
    assert compare_command.main([*where, "--threshold_rule", "dice"]) == 0
    compared = json.loads(capfd.readouterr().out)[1]
    assert compared["model"] == row["model"]
    assert compared["mean_image_dice"] == row["mean_image_dice"]
