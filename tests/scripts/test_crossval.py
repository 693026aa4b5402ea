"""`scripts.crossval`: folds by subject without leaks, resumed trainings, one table over all subjects."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from engines.base.lock import locked
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.tables import read_csv
from engines.scoring.confusion_files import identity, write_confusion_files
from engines.scoring.lesions import lesion_detection
from engines.scoring.matching import HIT, ImageLesions, Judged, Lesion
from scripts import compare as compare_command
from scripts import crossval
from scripts.crossvalidation.folds import read_folds, trained_subjects
from scripts.crossvalidation.views import fold_views, write_view
from scripts.importers.writing.split import folds_of
from transforms.dataset import Dataset
from transforms.errors import UserError


@settings(max_examples=60, deadline=None)
@given(
    names=st.sets(st.text("abc0123_", min_size=1, max_size=6), min_size=2, max_size=30),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_every_subject_is_in_exactly_one_fold(names: set[str], seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, len(names)))
    images = data.draw(st.permutations([*names, *names]))  # several images per subject, in any order
    folds = folds_of(images, count, seed)
    assert sorted(name for fold in folds for name in fold) == sorted(names)
    assert max(map(len, folds)) - min(map(len, folds)) <= 1
    assert folds == folds_of(sorted(names), count, seed)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_as_many_folds_as_can_be(count: int) -> None:
    with pytest.raises(UserError, match=rf"--folds {count}: expected 2 to 3, the number of subjects"):
        folds_of(["a", "b", "c"], count, 0)


def second_view(folder: Path) -> None:
    """Give every subject another image, as a second view of the same breast."""
    content = json.loads((folder / "dataset.json").read_text())
    for section in ("training", "validation"):
        more = []
        for item in content[section]:
            image = item["image"].replace("_CC", "_MLO")
            for kind in ("images", "labels"):
                array = np.load(folder / item[kind[:-1]])
                np.save(folder / kind / Path(image).name, array[::-1])
            more.append({**item, "image": image, "label": image.replace("images", "labels"), "view": "MLO"})
        content[section] += more
    (folder / "dataset.json").write_text(json.dumps(content))


def test_views_share_no_subject_and_hold_every_image(tiny_dataset: Path, tmp_path: Path) -> None:
    second_view(tiny_dataset)
    before = {p: p.read_bytes() for p in tiny_dataset.rglob("*") if p.is_file()}
    data = Dataset.load(tiny_dataset)
    validated: list[str] = []
    digests = set()
    for number, view in enumerate(fold_views(data, folds_of(trained_subjects(data), 3, 0), seed=0)):
        write_view(view, tmp_path / str(number))
        fold = Dataset.load(tmp_path / str(number))
        training, validation = fold.items("training"), fold.items("validation")
        assert {i["subject"] for i in training} & {i["subject"] for i in validation} == set()
        assert {i["image"] for i in training} & {i["image"] for i in validation} == set()
        assert len(training) + len(validation) == 12
        assert all(Path(i["image"]).parent == tiny_dataset / "images" for i in training + validation)
        labels = [np.load(i["label"]) for i in training]
        pixels = np.bincount(np.concatenate([label.ravel() for label in labels]), minlength=3)
        assert list(fold.pixel_fraction.values()) == pytest.approx((pixels / pixels.sum()).tolist())
        fold.check_labels(training + validation)
        validated += [i["image"] for i in validation]
        digests.add(fold.digest)
    assert sorted(validated) == sorted(i["image"] for i in data.items("training") + data.items("validation"))
    assert len(digests) == 3
    assert before == {p: p.read_bytes() for p in tiny_dataset.rglob("*") if p.is_file()}


def test_test_images_stay_out_of_it_and_an_image_without_label_is_refused(tiny_dataset: Path) -> None:
    content = json.loads((tiny_dataset / "dataset.json").read_text())
    content["test"] = [content["training"].pop()]
    content["training"][0]["label"] = None
    (tiny_dataset / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"s000_L_CC\.npy: has no label"):
        fold_views(Dataset.load(tiny_dataset), [["s000"]], 0)
    content["training"].pop(0)
    (tiny_dataset / "dataset.json").write_text(json.dumps(content))
    data = Dataset.load(tiny_dataset)
    assert content["test"][0]["subject"] not in trained_subjects(data)
    for view in fold_views(data, folds_of(trained_subjects(data), 2, 0), 0):
        assert view["test"] == content["test"]
        assert content["test"][0] not in [*view["training"], *view["validation"]]


class Trainings:
    """Stand-in for the bundle's process that writes the files of a training; `fails` names folds that fail once."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.commands: list[dict[str, str]] = []
        self.fails: set[int] = set()
        self.error: type[BaseException] | None = None
        self.saves = True

    def __call__(self, words: list[str], **_: Any) -> int:
        given = dict(zip(words[5::2], words[6::2], strict=True))
        self.commands.append(given)
        tags = ast.literal_eval(given["--tags"])
        output, data = Output(given["--output_dir"]), Dataset.load(given["--dataset_dir"])
        if int(tags["fold"]) in self.fails:
            self.fails.clear()
            if self.saves:
                output.progress.save({"epoch": 1})
            if self.error is not None:
                raise self.error
            return 1
        tracking = Tracking("mammoseg", given["--run_name"], str(self.store), tags=tags)
        tracking.start()
        tracking.start_stage("unet", {})
        matrices = {item["subject"]: np.diag([5, 4, 3]) + int(tags["fold"]) for item in data.items("validation")}
        for path in write_confusion_files(output, "unet", matrices, identity(data), "validation"):
            tracking.log_artifacts(path, "eval", tracking.stage_run_id)
        detection = lesion_detection(data, "validation", {})
        assert detection is not None
        hit, fold = 0.9 if int(tags["fold"]) == 1 else None, tags["fold"]
        lesion = Lesion(50, 0.01, 9.0, (0, 0, 9, 9), hit, 0.5)
        bins = (((500 + int(fold), 4),), ((10, 80),))
        found = (Judged(0.9, 81, (0, 0, 9, 9), HIT, 0),) if hit else ()
        cases = {item["subject"]: Path(item["image"]).stem for item in data.items("validation")}
        detection.images = [ImageLesions(s, cases[s], 4, 4, int(fold), (lesion,), found, bins) for s in matrices]
        tracking.log_artifacts(detection.write_confusion_files(output, "unet"), "eval", tracking.stage_run_id)
        output.write_config({"stages": ["unet"]})
        output.save_stage("unet", {}, {"labels": {}}, {}, 1)
        tracking.end_stage({})
        tracking.end("FINISHED")
        return 0


Go = Callable[..., int]


@pytest.fixture
def trainings(store: Path, monkeypatch: pytest.MonkeyPatch) -> Trainings:
    made = Trainings(store)
    monkeypatch.setattr("scripts.crossvalidation.at_once.run_training", made)
    monkeypatch.setattr("engines.scoring.confusion_files.save_figure", lambda figure, path: path)
    return made


@pytest.fixture
def go(trainings: Trainings, tiny_dataset: Path, tmp_path: Path, store: Path) -> Go:
    def run(*words: str, bundle: str = "unet", folds: int = 3) -> int:
        places = ["--out", str(tmp_path / "cv"), "--tracking_uri", str(store), "--dataset_dir", str(tiny_dataset)]
        return crossval.main([bundle, "--folds", str(folds), *places, *words])

    return run


def test_folds_are_trainings_below_one_run_and_one_table(
    go: Go, trainings: Trainings, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go("--json", "--max_epochs", "2", "--width", "0.02") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["model"], row["subjects"]) for row in rows] == [("all background", 6), ("U-Net", 6)]
    assert [c["--run_name"] for c in trainings.commands] == [f"unet fold {n} of 3" for n in (1, 2, 3)]
    for command in trainings.commands:
        assert (command["--max_epochs"], command["--width"], command["--resume"]) == ("2", "0.02", "false")
        assert command["--threshold_from"] == "$None"  # no subject is held out for what the other folds choose
        assert command["--config_file"].endswith("train.json")
    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    (parent,) = (run for run in runs if run.data.tags.get("kind") == "crossval")
    assert parent.data.tags["mlflow.source.name"] == "scripts/crossval.py"
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["unet/mean_iou"] == pytest.approx(rows[1]["mean_iou"])
    assert parent.data.metrics["unet/fold_mean/mean_iou"] == pytest.approx(rows[1]["mean_iou_fold_mean"])
    assert rows[1]["lesion_sensitivity_at_1fp"] == pytest.approx(1 / 3)  # all of the first fold's two lesions
    assert rows[1]["mean_image_dice"] == pytest.approx(0.5)
    assert rows[1]["lesion_sensitivity_at_1fp_fold_mean"] == pytest.approx(1 / 3)
    assert rows[1]["mean_image_dice_fold_sd"] == pytest.approx(0.25)
    assert parent.data.metrics["unet/lesion_sensitivity_at_1fp"] == pytest.approx(1 / 3)
    assert parent.data.metrics["unet/fold_mean/mean_image_dice"] == pytest.approx(0.5)
    below = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.data.tags["fold"] for run in below) == ["1", "2", "3"]
    where = ["--tracking_uri", str(store), "--out", str(tmp_path / "c"), "--json"]
    assert compare_command.main([*where, "--crossval"]) == 0
    compared = json.loads(capsys.readouterr().out)
    kept = ("mean_iou", "mean_iou_low", "mean_iou_high", "mean_iou_fold_sd", "dataset_digest")
    for key in (*kept, "lesion_sensitivity_at_1fp_high", "mean_image_dice_fold_sd"):
        assert compared[1][key] == rows[1][key]


def test_each_fold_has_the_operating_point_of_the_others(
    go: Go, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go("--threshold_rule", "iou") == 2
    assert "--threshold_rule iou: unknown rule" in capsys.readouterr().err
    assert go("--threshold_rule", "dice") == 0
    said = capsys.readouterr().out
    assert "U-Net, threshold" in said
    assert "U-Net, most likely class" in said
    assert "rule dice, chosen on the other 2 folds, out of fold." in said
    models = [tmp_path / "cv" / f"fold-{n}" / "models" / "model.json" for n in (1, 2, 3)]
    points = [json.loads(path.read_text(encoding="utf-8"))["operating_point"] for path in models]
    assert [point["chosen_on"] for point in points] == ["the other 2 folds, out of fold"] * 3
    # others' lesions lie at 0.502 and 0.503, 0.501 and 0.503, 0.501 and 0.502, all else at 0.010: the middle between
    assert [point["threshold"] for point in points] == [0.257, 0.256, 0.256]
    assert go("--threshold_rule", "mean_dice", "--json") == 0
    row = json.loads(capsys.readouterr().out)[1]
    assert row["mean_image_dice"] == 1
    assert row["mean_image_dice_argmax"] == pytest.approx(0.5)


def test_scores_by_group_of_all_folds(
    go: Go, trainings: Trainings, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "a.csv"
    table.write_text("subject,density\ns009,B\n", encoding="utf-8")
    assert go("--attributes", str(table)) == 2
    assert "--attributes: has no row for any of the 6 images of tiny" in capsys.readouterr().err
    assert not trainings.commands
    table.write_text("subject,density\n" + "".join(f"s00{n},B\n" for n in range(5)) + "s005,C\n", encoding="utf-8")
    assert go("--attributes", str(table)) == 0
    said = capsys.readouterr().out
    assert "Lesions by group, per cent" in said
    assert "density B" in said
    assert "too few subjects" in said
    rows = read_csv(tmp_path / "cv" / "groups.csv")
    assert [(r["model"], r["group"], r["subjects"]) for r in rows if r["attribute"] == "density"] == [
        ("U-Net", "B", "5"), ("U-Net", "C", "1"),
    ]  # fmt: skip
    where = ["--tracking_uri", str(store), "--out", str(tmp_path / "c"), "--crossval", "--attributes", str(table)]
    assert compare_command.main(where) == 0
    assert "density B" in capsys.readouterr().out
    assert "density B" in (tmp_path / "c" / "comparison.md").read_text(encoding="utf-8")
    compared = read_csv(tmp_path / "c" / "groups.csv")
    assert [row["lesion_dice"] for row in compared] == [
        row["lesion_dice"] for row in rows if row["attribute"] != "view"
    ]


def test_the_labels_of_a_fold_do_not_move_its_own_threshold(go: Go, tmp_path: Path) -> None:
    assert go("--threshold_rule", "dice") == 0
    models = [tmp_path / "cv" / f"fold-{n}" / "models" / "model.json" for n in (1, 2, 3)]
    before = [json.loads(path.read_text(encoding="utf-8"))["operating_point"] for path in models]
    path = tmp_path / "cv" / "fold-1" / "eval" / "lesions-unet.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for image in content["images"]:
        image["histogram"] = image["histogram"][::-1]  # the lesion is where it was not
    path.write_text(json.dumps(content), encoding="utf-8")
    assert go("--threshold_rule", "dice") == 0
    after = [json.loads(path.read_text(encoding="utf-8"))["operating_point"] for path in models]
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert after[2] != before[2]


def test_prescribed_folds_are_those_that_are_trained(
    go: Go, trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, other = tmp_path / "folds.csv", tmp_path / "other.csv"
    file.write_text("woman,subject,fold\n" + "".join(f"P{n},s00{n},{2 if n in (1, 4) else 1}\n" for n in range(6)))
    other.write_text(file.read_text().replace("s004,2", "s004,1"))
    given = ["--folds_file", str(file)]
    assert go(*given, folds=3) == 2
    assert "--folds 3: " in (error := capsys.readouterr().err)
    assert "folds.csv has 2 folds; omit --folds" in error
    assert go(*given, folds=2) == 0
    validated = [
        {item["subject"] for item in Dataset.load(command["--dataset_dir"]).items("validation")}
        for command in trainings.commands
    ]
    assert validated == [{"s000", "s002", "s003", "s005"}, {"s001", "s004"}]
    assert read_folds(tmp_path / "cv" / "folds.csv", [f"s00{n}" for n in range(6)])[1] == ["s001", "s004"]
    capsys.readouterr()
    for words in ([], ["--folds_file", str(other)]):
        assert go(*words, folds=2) == 2
        assert "other settings (folds_digest:" in capsys.readouterr().err
    assert len(trainings.commands) == 2


def test_the_same_command_goes_on(go: Go, trainings: Trainings, capsys: pytest.CaptureFixture[str]) -> None:
    trainings.fails = {2}
    assert go() == 2
    assert "fold 2 of 3 ended with code 1" in capsys.readouterr().err
    assert go() == 0
    said = capsys.readouterr()
    assert "Fold 1 of 3: finished earlier." in said.err
    assert "6 validation subjects" in said.out
    assert [(c["--run_name"][10], c["--resume"]) for c in trainings.commands] == [
        ("1", "false"),
        ("2", "false"),
        ("2", "true"),
        ("3", "false"),
    ]


def test_settings_with_which_no_fold_began_are_replaced(
    go: Go, trainings: Trainings, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings.fails, trainings.saves = {1}, False
    assert go("--max_epoch", "3", folds=4) == 2
    assert "fold 1 of 4 ended with code 1" in capsys.readouterr().err
    assert go("--max_epochs", "3") == 0
    assert [c["--resume"] for c in trainings.commands] == ["false"] * 4
    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    found = [(run.info.status, run.data.params["folds"]) for run in runs if run.data.tags.get("kind") == "crossval"]
    assert sorted(found) == [("FAILED", "4"), ("FINISHED", "3")]
    capsys.readouterr()
    assert go("--max_epochs", "4") == 2
    assert "other settings (options:" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(
    go: Go, trainings: Trainings, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainings.fails, trainings.error = {1}, KeyboardInterrupt
    assert go() == 130
    assert "To resume, repeat the command" in capsys.readouterr().err
    assert go() == 0
    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    assert [run.info.status for run in runs if run.data.tags.get("kind") == "crossval"] == ["FINISHED"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--max_epochs 3", r"other settings \(options:"),
        ("--seed 1", r"other settings \(seed: 0 → 1\)"),
        ("--output_dir x", "--output_dir: set for each fold by this command"),
        ("--tags={}", "--tags: set for each fold by this command"),
    ],
)
def test_what_does_not_fit_is_refused(go: Go, words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert go() == 0
    capsys.readouterr()
    assert go(*shlex.split(words)) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1

    assert re.search(message, error)


def test_an_unknown_bundle_and_a_foreign_folder(go: Go, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert go(bundle="resnet") == 2
    assert "resnet: unknown bundle; choose from deeplabv3, dilation10, fcn, unet" in capsys.readouterr().err
    (tmp_path / "cv").mkdir()
    (tmp_path / "cv" / "mine.txt").touch()
    assert go() == 2
    assert "is not empty and has no crossval.json" in capsys.readouterr().err
    assert go(folds=7) == 2
    assert "--folds 7: expected 2 to 6" in capsys.readouterr().err


@pytest.mark.slow
def test_two_folds_of_a_bundle(tiny_dataset: Path, tmp_path: Path, store: Path) -> None:
    slim = "--max_epochs 1 --width 0.02 --image_height '$None' --batch_size 4 --micro_batch_size 4 --crop_size 24"
    out = tmp_path / "cv"
    places = ["--out", str(out), "--tracking_uri", str(store), "--dataset_dir", str(tiny_dataset)]
    assert crossval.main(["unet", "--folds", "2", *places, *slim.split(), "--log_model", "false"]) == 0
    kept = [json.loads((out / f"fold-{n}" / "eval" / "confusion-unet.json").read_text()) for n in (1, 2)]
    assert kept[0]["subjects"].keys() & kept[1]["subjects"].keys() == set()
    assert len(kept[0]["subjects"]) + len(kept[1]["subjects"]) == 6


def test_a_folder_that_another_cross_validation_has(
    tiny_dataset: Path, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = ["unet", "--folds", "2", "--dataset_dir", str(tiny_dataset), "--tracking_uri", str(store)]
    with locked(out, "cross-validation", "--out"):
        assert crossval.main([*words, "--out", str(out)]) == 2
        assert [path.name for path in out.glob("fold-*")] == []
    assert "in use by a cross-validation (process" in capsys.readouterr().err
    experiments = MlflowClient(f"sqlite:///{store}").search_experiments()
    assert [e.name for e in experiments] == ["Default"]


def test_bundles_and_seeds_are_rows_of_one_table(
    go: Go, trainings: Trainings, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go("fcn", "--seeds", "0,4", "--json", "--max_epochs", "2") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["model"], row.get("seeds")) for row in rows[1:]] == [("U-Net", 2), ("FCN unet", 2)]
    given = {(Path(c["--output_dir"]).parent.name, c["--seed"]) for c in trainings.commands}
    assert given == {("unet-seed-0", "0"), ("unet-seed-4", "4"), ("fcn-seed-0", "0"), ("fcn-seed-4", "4")}
    assert len(trainings.commands) == 12
    assert all(command["--max_epochs"] == "2" for command in trainings.commands)
    folds = {(tmp_path / "cv" / f"{name}" / "folds.csv").read_text() for name, _ in given}
    assert len(folds) == 1  # independent of the training seed
    assert "Fewer than 3 seeds" in (tmp_path / "cv" / "crossval.txt").read_text()
    where = ["--tracking_uri", str(store), "--out", str(tmp_path / "c"), "--json"]
    assert compare_command.main([*where, "--crossval"]) == 0
    capsys.readouterr()
    assert go("fcn", "--seeds", "0,4,5", "--max_epochs", "2") == 0
    assert "Fold 1 of 3 of unet, seed 4: finished earlier." in capsys.readouterr().err
    assert len(trainings.commands) == 18


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0,0"], "--seeds 0,0: expected distinct integers"),
        (["--seeds", "a"], "--seeds a: expected distinct integers"),
        (["unet"], "unet: given twice"),
        (["--cluster", "sge"], "--cluster sge: unknown; choose from local, slurm"),
        (["--cluster_option", "a=1"], "also give --cluster"),
    ],
)
def test_options_that_do_not_fit(
    words: list[str], message: str, go: Go, trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert go(*words) == 2
    assert message in capsys.readouterr().err
    assert trainings.commands == []


def test_a_learning_curve_of_nested_shares_that_resumes(
    go: Go, trainings: Trainings, tmp_path: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--train_shares", "0.5,1", "--figures", "svg")
    trainings.fails = {3}
    assert go(*words) == 2
    assert len(trainings.commands) == 3
    assert go(*words) == 0
    assert len(trainings.commands) == 7  # the failed fold of the first share again, and three of the second
    assert "Twice as many subjects: " in capsys.readouterr().out
    folder = tmp_path / "cv"
    rows = read_csv(folder / "learning_curve.csv")
    assert [(row["share"], row["subjects"]) for row in rows] == [("0.5", "2.0"), ("1.0", "4.0")]
    assert {"learning_curve.png", "learning_curve.svg", "learning_curve.json"} <= {p.name for p in folder.iterdir()}
    for number in (1, 2, 3):
        few, every = (
            Dataset.load(folder / share / f"fold-{number}" / "dataset") for share in ("share-50", "share-100")
        )
        assert few.content["validation"] == every.content["validation"]
        few_names, names = ({i["subject"] for i in data.content["training"]} for data in (few, every))
        assert len(few_names) == 2
        assert few_names < names
    assert [ast.literal_eval(c["--tags"])["train_share"] for c in trainings.commands] == ["0.5"] * 4 + ["1"] * 3
    where = ["--tracking_uri", str(store), "--out", str(tmp_path / "c"), "--crossval"]
    assert compare_command.main(where) == 2  # shares are no rows unless they are asked for
    assert compare_command.main([*where, "--tag", "train_share=1"]) == 0


def test_a_learning_curve_is_of_one_network(go: Go, capsys: pytest.CaptureFixture[str]) -> None:
    assert go("--train_shares", "0.5,1", "--seeds", "0,1") == 2
    assert "--train_shares: expected one bundle and one seed" in capsys.readouterr().err
    assert go("--figures", "svg") == 2
    assert "--metric and --figures: apply to the learning curve" in capsys.readouterr().err
    assert go("--train_shares", "0.1,1") == 2
    assert "--train_shares 0.1: leaves 0 of 4 subjects to train on" in capsys.readouterr().err
