"""A bundle's training, evaluation and inference on tiny data, in this process."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient
from monai.bundle import ConfigParser
from monai.data import DataLoader
from PIL import Image
from refusals import refused
from repository import ROOT

from engines.base.network_file import all_rows
from engines.records.tables import read_csv
from engines.training.staged_training import StagedTraining
from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.cityscapes import CLASSES, import_cityscapes
from transforms.crops import RandBalancedCropd

Run = Callable[..., None]


def mlflow_runs(store: Path) -> list[Any]:
    client = MlflowClient(f"sqlite:///{store}")
    return client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])


def test_train_evaluate_infer(run_bundle: Run, tiny_dataset: Path, tmp_path: Path, store: Path) -> None:
    run_bundle(run_id="training", dataset_dir=str(tiny_dataset), max_epochs=2, crops_per_image=2)
    out = tmp_path / "out"
    for stage in ("front", "context", "global", "model"):
        assert (out / "models" / f"{stage}.pt").is_file()
    trained = json.loads((out / "models" / "model.json").read_text())
    assert trained["labels"] == {"0": "background", "1": "gland", "2": "tumor"}

    rows = {row["model"]: row for row in read_csv(out / "eval" / "scores.csv")}
    assert list(rows) == ["all background", "front", "context", "global"]
    assert {p.name for p in (out / "eval" / "panels").iterdir()} == {"s004.png", "s005.png"}
    assert [r["subject"] for r in read_csv(out / "eval" / "subjects.csv")] == ["s004", "s005"]
    assert len(read_csv(out / "eval" / "epochs.csv")) == 6

    parent, *stages = sorted(mlflow_runs(store), key=lambda r: "mlflow.parentRunId" in r.data.tags)
    assert {r.data.tags["mlflow.parentRunId"] for r in stages} == {parent.info.run_id}
    assert sorted(r.data.tags["stage"] for r in stages) == ["context", "front", "global"]
    assert {r.info.status for r in [parent, *stages]} == {"FINISHED"}
    assert parent.data.metrics["mean_iou"] == pytest.approx(float(rows["global"]["mean_iou"]))
    assert len(parent.data.params) <= 45
    artifacts = {a.path for a in MlflowClient(f"sqlite:///{store}").list_artifacts(parent.info.run_id)}
    assert artifacts == {"eval", "models", "panels"}

    run_bundle("evaluate", dataset_dir=str(tiny_dataset))
    for overrides, words in (
        ({"section": "test"}, ["--section test", "no image", "2 in validation"]),
        ({"section": "tset"}, ["tset", "training, validation, test"]),
        ({"weights": "back"}, ["--weights back", "context, front, global, model"]),
    ):
        with refused(*words):
            run_bundle("evaluate", dataset_dir=str(tiny_dataset), **overrides)
    run_bundle("evaluate", dataset_dir=str(tiny_dataset), weights="front", section="training")
    first, second = read_csv(out / "eval" / "tiny-training" / "scores.csv")
    assert (first["model"], second["model"]) == ("all background", "front")
    run_bundle("evaluate", dataset_dir=str(tiny_dataset))
    again = {row["model"]: row for row in read_csv(out / "eval" / "tiny-validation" / "scores.csv")}
    for name in ("pixel_accuracy", "mean_iou", "mean_class_accuracy"):
        assert float(again["global"][name]) == pytest.approx(float(rows["global"][name]), abs=1e-6)
        assert float(again["all background"][name]) == float(rows["all background"][name])

    pictures = tmp_path / "pictures"
    (pictures / "sub").mkdir(parents=True)
    image = np.load(tiny_dataset / "images" / "s004_L_CC.npy")
    Image.fromarray((image.astype(np.uint32) * 65535 // 4095).astype(np.uint16)).save(pictures / "sub" / "a.png")
    (pictures / "notes.txt").write_text("not an image")
    (pictures / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    run_bundle("inference", dataset_dir=str(pictures), results_dir=str(pictures / "results"))
    run_bundle("inference", dataset_dir=str(pictures), results_dir=str(pictures / "results"))
    assert sorted(p.name for p in (pictures / "results").rglob("*.png")) == ["a_labels.png", "a_overlay.png"]
    run_bundle("inference", dataset_dir=str(pictures))
    results = out / "eval" / "segmentations" / "sub"
    assert sorted(p.name for p in results.iterdir()) == ["a_labels.png", "a_overlay.png", "a_seg.nii.gz"]
    labels = np.asarray(Image.open(results / "a_labels.png"))
    assert labels.shape == image.shape
    volume = nib.load(results / "a_seg.nii.gz")
    assert np.array_equal(np.asarray(volume.dataobj)[..., 0].T, labels)


def test_keep_last_ends_every_stage_with_its_last_epoch_whatever_the_validation_says(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path
) -> None:
    """Also if that epoch was not validated: with an interval of 2, `best` would end with the second of three."""
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front", "context"], "keep": "last", "patience": 0}
    run_bundle(max_epochs=3, val_interval=2, learning_rate={"front": 0.05, "context": 0.02}, **options)
    models = tmp_path / "out" / "models"
    record = json.loads((models / "context.json").read_text())
    assert (record["epoch"], record["keep"]) == (3, "last")
    ended = torch.load(models / "context.pt", weights_only=True)
    at_the_end = torch.load(models / "progress.pt", weights_only=True)["network"]
    assert all(torch.equal(ended[name], weights) for name, weights in at_the_end.items())
    front = torch.load(models / "front.pt", weights_only=True)
    assert not torch.equal(front["context1.weight"], ended["context1.weight"])
    run_bundle("evaluate", dataset_dir=str(tiny_dataset))
    again = {row["model"]: row for row in read_csv(tmp_path / "out" / "eval" / "tiny-validation" / "scores.csv")}
    assert float(again["context"]["mean_iou"]) == pytest.approx(record["validation"]["mean_iou"], abs=1e-6)


def test_fine_tuning_changes_the_crops_of_the_last_epochs_also_of_a_resumed_training(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    crop = RandBalancedCropd.__call__

    def spy(self: RandBalancedCropd, data: Any) -> Any:
        item = crop(self, data)
        seen.append(tuple(item["image"].shape[-2:]))
        return item

    monkeypatch.setattr(RandBalancedCropd, "__call__", spy)
    last = {"epochs": 1, "crop_size": [32, 24], "learning_rate": 0.001}
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front"], "fine_tuning": last}
    run_bundle(max_epochs=2, output_dir=str(tmp_path / "whole"), **options)
    half = len(seen) // 2
    assert [set(seen[:half]), set(seen[half:])] == [{(24, 24)}, {(32, 24)}]
    seen.clear()
    run_bundle(max_epochs=1, **options)
    run_bundle(max_epochs=2, resume=True, **options)
    assert [set(seen[:half]), set(seen[half:])] == [{(24, 24)}, {(32, 24)}]
    one, two = (torch.load(tmp_path / name / "models" / "front.pt", weights_only=True) for name in ("whole", "out"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture
def whole(run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> dict[str, Any]:
    """An uninterrupted training of one stage."""
    run_bundle(
        dataset_dir=str(tiny_dataset), stages=["front"], max_epochs=4, patience=3, output_dir=str(tmp_path / "whole")
    )
    return torch.load(tmp_path / "whole" / "models" / "progress.pt", weights_only=True)


def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, store: Path, whole: dict[str, Any]
) -> None:
    before = len(mlflow_runs(store))
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front"], "patience": 3}
    run_bundle(max_epochs=2, **options)
    run_bundle(max_epochs=4, resume=True, **options)
    resumed = torch.load(tmp_path / "out" / "models" / "progress.pt", weights_only=True)
    for key in ("epoch", "stopping"):
        assert resumed[key] == whole[key]
    assert resumed["threads"] == torch.get_num_threads()
    assert resumed["best"]["epoch"] == whole["best"]["epoch"]
    assert resumed["best"]["scores"] == pytest.approx(whole["best"]["scores"], nan_ok=True)
    for name, value in whole["network"].items():
        assert torch.equal(resumed["network"][name], value), name
    assert len(read_csv(tmp_path / "out" / "eval" / "epochs.csv")) == whole["epoch"]
    assert len(mlflow_runs(store)) == before + 2  # the training and its stage, continued


def test_resuming_a_finished_training_says_so(
    run_bundle: Run, tiny_dataset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front"], "max_epochs": 1}
    run_bundle(**options)
    run_bundle(resume=True, **options)
    assert "already at epoch 1 of 1: nothing left to train; raise max_epochs" in capfd.readouterr().out


def test_more_epochs_than_planned_are_not_those_of_a_longer_training_under_a_cosine(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"dataset_dir": str(tiny_dataset), "bundle": "unet", "lr_schedule": "cosine"}
    model = tmp_path / "out" / "models" / "model.json"
    run_bundle(max_epochs=2, **options)
    run_bundle(max_epochs=2, resume=True, **options)
    said = capfd.readouterr().out
    assert "nothing left to train; raise max_epochs to train further (with the result of an unint" in said
    assert "were trained with max_epochs" not in said
    assert "max_epochs_before" not in json.loads(model.read_text())
    for epochs, trained in ((3, "2"), (4, "2, 3")):
        run_bundle(max_epochs=epochs, resume=True, **options)
        line = f"Stage unet: {epochs - 1} epochs were trained with max_epochs {trained}, and {epochs} changes"
        assert line in capfd.readouterr().out
    assert json.loads(model.read_text())["max_epochs_before"] == {"unet": [2, 3]}


def test_resuming_with_other_settings_is_refused(run_bundle: Run, tiny_dataset: Path) -> None:
    run_bundle(dataset_dir=str(tiny_dataset), stages=["front"], max_epochs=1)
    with refused("learning_rate"):
        run_bundle(dataset_dir=str(tiny_dataset), stages=["front"], max_epochs=2, learning_rate=0.5, resume=True)


def test_precision_is_recorded_as_what_it_came_to_and_kept_by_a_resumed_training(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path
) -> None:
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front"]}
    run_bundle(max_epochs=2, precision="bf16", output_dir=str(tmp_path / "whole"), **options)
    run_bundle(max_epochs=1, precision="bf16", **options)
    with refused("precision: bf16 → fp32"):
        run_bundle(max_epochs=2, precision="auto", resume=True, **options)
    run_bundle(max_epochs=2, precision="bf16", resume=True, **options)
    one, two = (torch.load(tmp_path / name / "models" / "front.pt", weights_only=True) for name in ("whole", "out"))
    assert all(torch.equal(one[name], two[name]) and one[name].dtype == torch.float32 for name in one)
    run_bundle(max_epochs=2, output_dir=str(tmp_path / "auto"), **options)
    records = [json.loads((tmp_path / name / "models" / "model.json").read_text()) for name in ("out", "auto")]
    assert [each["precision"] for each in records] == ["bf16", "fp32"]
    other = torch.load(tmp_path / "auto" / "models" / "front.pt", weights_only=True)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def bad_label(folder: Path, values: list[int]) -> None:
    label = np.load(folder / "labels" / "s000_L_CC.npy")
    label.flat[: len(values)] = values
    np.save(folder / "labels" / "s000_L_CC.npy", label)


def empty_section(folder: Path, section: str) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    content[section] = []
    (folder / "dataset.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("spoil", "overrides", "words"),
    [
        (lambda d: None, {"dataset_dir": "/nowhere at all"}, ["/nowhere at all"]),
        (lambda d: None, {"stages": ["front", "back"]}, ["'back'", "front, context, global"]),
        (lambda d: None, {"stages": "front"}, ["list of stage names", "'front'"]),
        (lambda d: None, {"monitor": "mIoU"}, ["--monitor mIoU", "mean_iou"]),
        (lambda d: None, {"patience": -1}, ["patience"]),
        (lambda d: None, {"max_epochs": 0}, ["max_epochs", "above 0"]),
        (lambda d: None, {"batch_size": 0}, ["--batch_size 0", "at least 1"]),
        (lambda d: None, {"resume": True}, ["no training to resume"]),
        (lambda d: bad_label(d, [9]), {}, ["s000_L_CC.npy", "9", "0"]),
        (lambda d: bad_label(d, [255]), {}, ["s000_L_CC.npy", "255"]),
        (lambda d: (d / "labels" / "s001_L_CC.npy").unlink(), {}, ["s001_L_CC.npy"]),
        (lambda d: empty_section(d, "training"), {}, ["training"]),
        (lambda d: empty_section(d, "validation"), {}, ["validation"]),
        (lambda d: shutil.rmtree(d / "images"), {}, ["images"]),
        (lambda d: (d / "dataset.json").write_text("{"), {}, ["dataset.json"]),
    ],
    ids=[
        "wrong path", "unknown stage", "no list", "unknown score", "negative patience", "no epoch", "no batch",
        "nothing to resume", "unknown label", "void without ignore_label", "missing label", "no training",
        "no validation", "no images", "broken json",
    ],
)  # fmt: skip
def test_bad_input_is_a_short_error_and_leaves_nothing(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, spoil: Any, overrides: dict[str, Any], words: list[str]
) -> None:
    spoil(tiny_dataset)
    with refused(*words, lines=15):
        run_bundle(**{"dataset_dir": str(tiny_dataset), "max_epochs": 1, **overrides})
    assert not (tmp_path / "out").exists()


def test_background_only_images_and_small_images_train(run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> None:
    bad = np.load(tiny_dataset / "labels" / "s000_L_CC.npy")
    np.save(tiny_dataset / "labels" / "s000_L_CC.npy", np.zeros_like(bad))
    run_bundle(dataset_dir=str(tiny_dataset), stages=["front"], max_epochs=1, crop_size=48)
    assert len(read_csv(tmp_path / "out" / "eval" / "epochs.csv")) == 1


def test_early_stopping_says_when_and_why(
    run_bundle: Run, tiny_dataset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front"], "learning_rate": 1e-12}
    run_bundle(max_epochs=5, patience=1, **options)
    assert "stopped early (mean_iou did not improve) after epoch 2 of 5; best epoch 1" in capfd.readouterr().out
    run_bundle(max_epochs=3, patience=0, **options)
    assert "ended after epoch 3 of 3; best epoch 1" in capfd.readouterr().out


def test_accumulated_gradients_are_those_of_the_whole_batch(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path
) -> None:
    """Without class weights, dropout, void pixels and batch statistics, a batch has the mean loss of its parts."""
    weights = {}
    for batch, micro in ((4, 4), (4, 2), (2, 2)):
        folder = tmp_path / f"{batch} by {micro}"
        run_bundle(
            bundle="unet",
            dataset_dir=str(tiny_dataset),
            max_epochs=1,
            norm="instance",
            class_weights="none",
            balanced=False,
            crop_size=16,
            batch_size=batch,
            micro_batch_size=micro,
            output_dir=str(folder),
        )
        state = torch.load(folder / "models" / "unet.pt", weights_only=True)
        weights[batch, micro] = torch.cat([value.flatten() for value in state.values()])
    accumulated, separate = (float((weights[key] - weights[4, 4]).norm()) for key in ((4, 2), (2, 2)))
    assert accumulated < 0.01 * separate


def test_losses_do_not_depend_on_the_number_of_workers(run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> None:
    losses = []
    for workers in (0, 2):
        folder = tmp_path / f"{workers} workers"
        run_bundle(
            dataset_dir=str(tiny_dataset),
            stages=["front"],
            max_epochs=2,
            batch_size=1,
            micro_batch_size=1,
            num_workers=workers,
            output_dir=str(folder),
        )
        losses.append([row["train_loss"] for row in read_csv(folder / "eval" / "epochs.csv")])
    assert losses[0] == losses[1]


def test_every_checkpoint_holds_plain_values_only(run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> None:
    run_bundle(dataset_dir=str(tiny_dataset), stages=["front"], max_epochs=1)
    files = sorted((tmp_path / "out" / "models").glob("*.pt"))
    assert [p.name for p in files] == ["front.pt", "model.pt", "progress-previous.pt", "progress.pt"]
    for path in files:
        assert torch.load(path, weights_only=True)


def test_a_training_starts_from_a_file_of_weights(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front"], "max_epochs": 1}
    run_bundle(**options)
    weights = tmp_path / "out" / "models" / "front.pt"
    run_bundle(**options, init_weights=str(weights), learning_rate=1e-12, output_dir=str(tmp_path / "next"))
    assert "Initial weights: checkpoint front.pt" in capfd.readouterr().out
    before, after = (
        torch.load(p, weights_only=True)["conv1_1.weight"] for p in (weights, tmp_path / "next/models/front.pt")
    )
    assert torch.allclose(before, after, atol=1e-6)
    with refused("--init_weights"):
        run_bundle(**options, init_weights=str(tmp_path / "none.pth"))


def test_a_diverging_training_stops_with_a_hint(run_bundle: Run, tiny_dataset: Path, store: Path) -> None:
    with refused("try a lower --learning_rate than 1e+06"):
        run_bundle(dataset_dir=str(tiny_dataset), stages=["front"], max_epochs=30, learning_rate=1e6)
    assert {r.info.status for r in mlflow_runs(store)} == {"FAILED"}


def test_a_loss_with_a_large_factor_is_no_divergence(run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> None:
    options = {"bundle": "unet", "dataset_dir": str(tiny_dataset), "loss": "dice_cross_entropy"}
    weight = {"losses::dice_cross_entropy::dice_weight": 50}
    run_bundle(max_epochs=1, learning_rate=1e-5, **options, **weight)
    (row,) = read_csv(tmp_path / "out" / "eval" / "epochs.csv")
    assert float(row["train_loss"]) > 11  # ten times log 3
    with refused("the training diverges"):
        run_bundle(max_epochs=30, learning_rate=1e6, **options, **weight)


def test_a_later_stage_never_ends_below_its_start(run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> None:
    rates = {"front": 0.01, "context": 0.3}  # the second ruins the network
    run_bundle(dataset_dir=str(tiny_dataset), stages=["front", "context"], max_epochs=3, learning_rate=rates)
    rows = {row["model"]: float(row["mean_iou"]) for row in read_csv(tmp_path / "out" / "eval" / "scores.csv")}
    assert rows["context"] >= rows["front"] - 1e-9


@pytest.mark.parametrize("bundle", all_rows())
def test_data_sets_of_a_bundle_cross_process_borders(process_state: None, tiny_dataset: Path, bundle: str) -> None:
    parser = ConfigParser()
    parser.read_config(str(ROOT / "bundles" / bundle / "configs" / "train.json"))
    parser["dataset_dir"] = str(tiny_dataset)
    parser["crop_size"] = 16
    for key in ("train::dataset", "validate::dataset"):
        dataset = pickle.loads(pickle.dumps(parser.get_parsed_content(key)))
        assert len(dataset)
    if bundle != "dilation10":
        return
    dataset = parser.get_parsed_content("train::dataset")
    dataset.transform.transforms[0].crop_size = 16
    loader = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    assert next(iter(loader))["image"].shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("bundle", "stages"), [(name, list(rows.stages)) for name, rows in all_rows().items()], ids=lambda value: str(value)
)
def test_every_bundle_trains_all_its_stages_then_evaluates_and_segments(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, bundle: str, stages: list[str]
) -> None:
    run_bundle(bundle=bundle, dataset_dir=str(tiny_dataset), max_epochs=1, learning_rate=0.001)
    rows = [row["model"] for row in read_csv(tmp_path / "out" / "eval" / "scores.csv")]
    assert rows == ["all background", *stages]
    run_bundle("evaluate", bundle=bundle, dataset_dir=str(tiny_dataset))
    run_bundle("inference", bundle=bundle, dataset_dir=str(tiny_dataset / "images" / "s000_L_CC.npy"))
    assert (tmp_path / "out" / "eval" / "segmentations" / "s000_L_CC_labels.png").is_file()


def test_the_cityscapes_recipe_trains_on_colour_and_predicts_the_original_ids(run_bundle: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, city in (("train", "aachen"), ("train", "bochum"), ("val", "munster")):
        ids = rng.choice([0, 7, 8, 11, 23, 26, 33], (20, 40)).astype(np.uint8)
        for kind, ending, pixels in (
            ("leftImg8bit", "leftImg8bit", rng.integers(0, 256, (20, 40, 3), dtype=np.uint8)),
            ("gtFine", "gtFine_labelIds", ids),
        ):
            folder = tmp_path / "cs" / kind / split / city
            folder.mkdir(parents=True)
            Image.fromarray(pixels).save(folder / f"{city}_000000_000019_{ending}.png")
    import_cityscapes(tmp_path / "cs", tmp_path / "data", ImportOptions(progress=False))
    options = {"dataset_dir": str(tmp_path / "data"), "bundle": "unet", "recipe": "cityscapes"}
    run_bundle(**options, max_epochs=1, crop_size=16)
    trained = json.loads((tmp_path / "out" / "models" / "model.json").read_text())
    assert (trained["augmentation"], trained["balanced"], trained["colour"]) == ("cityscapes", False, True)
    pictures = tmp_path / "cs" / "leftImg8bit" / "val"
    run_bundle("inference", bundle="unet", dataset_dir=str(pictures), formats=["source"])
    values = np.asarray(Image.open(next((tmp_path / "out").rglob("*_source.png"))))
    assert values.shape == (20, 40)
    assert set(np.unique(values)) <= set(CLASSES.values())


@pytest.mark.parametrize("name", ["none", "mammography", "replicas", "affine", "lesion", "cityscapes"])
def test_augmentations_keep_what_a_network_needs(process_state: None, tiny_dataset: Path, name: str) -> None:
    parser = ConfigParser()
    parser.read_config(str(ROOT / "bundles" / "unet" / "configs" / "train.json"))
    parser["dataset_dir"], parser["crop_size"], parser["augmentation"] = str(tiny_dataset), 24, name
    parser["image_height"] = None
    dataset = parser.get_parsed_content("train::dataset")
    dataset.transform.transforms[0].crop_size = 24
    first, again = [dataset[i] for i in range(8)], [dataset[i] for i in range(8)]
    for item, same in zip(first, again, strict=True):
        assert torch.equal(torch.as_tensor(item["image"]), torch.as_tensor(same["image"]))
        assert item["image"].shape == (3, 24, 24)
        assert item["image"].dtype == torch.float32
        assert set(torch.as_tensor(item["label"]).unique().tolist()) <= {0, 1, 2}
    dataset.epoch_key = (0, 2)
    assert not all(torch.equal(dataset[i]["image"], first[i]["image"]) for i in range(8))


def test_an_unknown_augmentation_is_refused(run_bundle: Run, tiny_dataset: Path) -> None:
    with refused("--augmentation replica: unknown; choose from none, mammography"):
        run_bundle(dataset_dir=str(tiny_dataset), augmentation="replica")


def test_rectangles_adamw_cosine_dice_and_mirror_averaging(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = {"solver": "adamw", "lr_schedule": "cosine", "loss": "dice_cross_entropy", "mirror_averaging": True}
    run_bundle(bundle="unet", dataset_dir=str(tiny_dataset), max_epochs=2, **{**options, "crop_size": [40, 24]})
    assert "crops of (40, 24)" in capfd.readouterr().out
    trained = json.loads((tmp_path / "out" / "models" / "model.json").read_text())
    assert {name: trained[name] for name in options} == options
    rates = [float(row["learning_rate"]) for row in read_csv(tmp_path / "out" / "eval" / "epochs.csv")]
    assert rates == pytest.approx([0.002, 0.001])
    run_bundle("evaluate", bundle="unet", dataset_dir=str(tiny_dataset))
    scores = read_csv(tmp_path / "out" / "eval" / "tiny-validation" / "scores.csv")[-1]
    assert float(scores["mean_iou"]) == pytest.approx(trained["validation"]["mean_iou"], abs=1e-6)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("bundle", all_rows())
def test_no_network_and_batches_of_one_and_a_last_batch_of_one(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, bundle: str
) -> None:
    """Four training images in batches of three leave one; no server may be contacted."""
    stage = json.loads((ROOT / "bundles" / bundle / "configs" / "train.json").read_text())["recipes"]["quick"][
        "stages"
    ][0]
    options = {"bundle": bundle, "dataset_dir": str(tiny_dataset), "stages": [stage], "max_epochs": 1}
    run_bundle(**options, batch_size=3, micro_batch_size=3, crops_per_image=1)
    run_bundle(**options, batch_size=1, micro_batch_size=1, crops_per_image=1)
    assert len(read_csv(tmp_path / "out" / "eval" / "epochs.csv")) == 1
    image, results = tiny_dataset / "images" / "s000_L_CC.npy", tmp_path / "results"
    run_bundle("inference", bundle=bundle, dataset_dir=str(image), results_dir=str(results), formats=["png"])
    assert [path.name for path in results.iterdir()] == ["s000_L_CC_labels.png"]


def test_the_last_epoch_is_validated_where_the_interval_leaves_it_out(
    run_bundle: Run, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epoch 0 is the start of a later stage; with an interval of two, the second of three epochs is validated."""
    validated: list[tuple[str, int]] = []
    keep_best = StagedTraining._keep_best

    def noted(training: StagedTraining, epoch: int, scores: dict[str, float]) -> None:
        validated.append((training.stage.name, epoch))
        keep_best(training, epoch, scores)

    monkeypatch.setattr(StagedTraining, "_keep_best", noted)
    run_bundle(dataset_dir=str(tiny_dataset), stages=["front", "context"], max_epochs=3, val_interval=2)
    assert validated == [("front", 2), ("front", 3), ("context", 0), ("context", 2), ("context", 3)]
