"""`--loss`, `--class_weights`, `--sampling` and `--ema_decay` of a bundle, and records made with `--dice_weight`."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.tracking import MlflowClient
from monai.bundle import ConfigParser
from refusals import refused
from repository import ROOT

from engines.base.replaced_options import upgraded
from engines.records.tables import read_csv
from scripts.sharing.documents import readme
from scripts.sharing.metadata import complete
from scripts.sharing.trained import find_trained

Run = Callable[..., None]
LOSSES = ("cross_entropy", "dice_cross_entropy", "focal", "dice_focal", "tversky", "focal_tversky", "top_k")


def checkpoint(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(path, weights_only=True)
    return loaded


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_and_says_what_it_was(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, store: Path, loss: str
) -> None:
    run_bundle(bundle="unet", dataset_dir=str(tiny_dataset), max_epochs=1, loss=loss, class_weights=[0.1, 0.5, 2])
    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    params = next(run.data.params for run in runs if "network" in run.data.params)
    weighted = "tversky" not in loss
    assert params["loss"] == loss
    assert params["class_weights_used"] == ("0.1000, 0.5000, 2.0000" if weighted else "none")
    record = json.loads((tmp_path / "out" / "eval" / "config.json").read_text())
    assert record["loss_parameters"]["class_weights"] == ([0.1, 0.5, 2.0] if weighted else None)
    assert record["loss_parameters"]["dice_weight"] == (1.0 if "dice" in loss else 0.0)
    trained = find_trained("unet", tmp_path / "out")
    metadata = complete(trained, packages={}, multiple=1)
    assert metadata["training"]["loss"] == loss
    assert metadata["training"]["loss_parameters"] == record["loss_parameters"]
    text = readme(trained, metadata)
    assert f"Loss `{loss}` (dice_weight {'1' if 'dice' in loss else '0'}" in text
    said = "class weights `[0.1, 0.5, 2]` (0.1000, 0.5000, 2.0000)." if weighted else ", no class weights."
    assert said in text


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"loss": "dise"}, "--loss dise: unknown; choose from cross_entropy, dice_cross_entropy"),
        ({"class_weights": "papre"}, "--class_weights papre: unknown value; choose from paper, none, inverse"),
        ({"class_weights": [1, 2]}, "expected 3 numbers"),
        ({"sampling": "klass"}, "--sampling klass: unknown; choose from image, class"),
        ({"anywhere_share": 2}, "--anywhere_share 2: expected a number of at least 0 and at most 1"),
        ({"ema_decay": 1.0}, "--ema_decay 1.0: expected a number of at least 0 and at most 0.99999"),
        ({"dice_weight": 0.5}, "--dice_weight is now --loss: dice_cross_entropy adds the Dice loss"),
    ],
)
def test_mistakes_are_one_line(run_bundle: Run, tiny_dataset: Path, overrides: dict[str, Any], words: str) -> None:
    with refused(words):
        run_bundle(dataset_dir=str(tiny_dataset), **overrides)


def test_recipes_train_with_the_loss_that_they_had() -> None:
    for bundle in ("dilation10", "fcn", "unet", "deeplabv3"):
        config = json.loads((ROOT / "bundles" / bundle / "configs" / "train.json").read_text())
        losses = {name: recipe["loss"] for name, recipe in config["recipes"].items()}
        dice = dict.fromkeys(("tissue", "tumor"), "dice_cross_entropy")
        assert losses == {**dict.fromkeys(losses, "cross_entropy"), "quick": "lesion_dice_cross_entropy", **dice}
        for name in ("tissue", "paper", "cityscapes"):
            recipe = config["recipes"][name]
            assert (recipe["class_weights"], recipe["sampling"], recipe["ema_decay"]) == ("paper", "image", 0.0)
        assert config["losses"]["dice_cross_entropy"]["dice_weight"] == 1.0


def test_weights_of_the_loss_are_those_of_the_dataset(process_state: None, tiny_dataset: Path) -> None:
    parser = ConfigParser()
    parser.read_config(str(ROOT / "bundles" / "unet" / "configs" / "train.json"))
    parser["dataset_dir"], parser["recipe"] = str(tiny_dataset), "paper"
    fractions = json.loads((tiny_dataset / "dataset.json").read_text())["pixel_fraction"]
    assert parser.get_parsed_content("loss_function").weight.tolist() == pytest.approx(
        [1 - fraction for fraction in fractions.values()]
    )


# -- records of versions with dice_weight --------------------------------------------------------------------------


def as_before(folder: Path, dice_weight: float) -> None:
    """Convert records of a training to those of a version with `dice_weight`."""
    new = {"loss", "class_weights", "sampling", "anywhere_share", "ema_decay", "loss_parameters"}

    def old(settings: dict[str, Any]) -> dict[str, Any]:
        return {**{k: v for k, v in settings.items() if k not in new}, "dice_weight": dice_weight}

    for path in folder.glob("*.json"):
        path.write_text(json.dumps(old(json.loads(path.read_text()))))
    progress = checkpoint(folder / "progress.pt")
    torch.save({**progress, "settings": old(progress["settings"])}, folder / "progress.pt")


@pytest.mark.parametrize(
    ("dice_weight", "options"),
    [
        (0.0, {"loss": "cross_entropy"}),
        (1.0, {"loss": "dice_cross_entropy"}),
        (0.5, {"loss": "dice_cross_entropy", "losses::dice_cross_entropy::dice_weight": 0.5}),
    ],
)
def test_a_training_with_dice_weight_is_resumed_evaluated_and_used(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path, dice_weight: float, options: dict[str, Any]
) -> None:
    common = {"bundle": "unet", "dataset_dir": str(tiny_dataset), **options}
    run_bundle(**common, max_epochs=2, output_dir=str(tmp_path / "whole"))
    run_bundle(**common, max_epochs=1)
    models = tmp_path / "out" / "models"
    as_before(models, dice_weight)
    run_bundle("evaluate", bundle="unet", dataset_dir=str(tiny_dataset))
    run_bundle("inference", bundle="unet", dataset_dir=str(tiny_dataset / "images" / "s000_L_CC.npy"))
    text = readme(
        find_trained("unet", tmp_path / "out"),
        complete(find_trained("unet", tmp_path / "out"), packages={}, multiple=1),
    )
    assert f"Loss `{options['loss']}` (dice_weight {dice_weight:g})." in text

    other = "cross_entropy" if dice_weight else "dice_cross_entropy"
    with refused(f"loss: {options['loss']} → {other}"):
        run_bundle(bundle="unet", dataset_dir=str(tiny_dataset), max_epochs=2, resume=True, loss=other)
    if dice_weight == 0.5:
        with refused("'dice_weight': 0.5} → "):
            run_bundle(bundle="unet", dataset_dir=str(tiny_dataset), max_epochs=2, resume=True, loss=options["loss"])
    run_bundle(**common, max_epochs=2, resume=True)
    whole, resumed = (checkpoint(tmp_path / name / "models" / "progress.pt") for name in ("whole", "out"))
    assert equal(whole["network"], resumed["network"])


def test_upgraded_settings() -> None:
    assert upgraded({"loss": "focal", "seed": 1}) == {"loss": "focal", "seed": 1}
    assert upgraded({"dice_weight": "1.0", "seed": 1}, {"anywhere_share": 0.3}) == {
        "loss": "dice_cross_entropy",
        "class_weights": "paper",
        "sampling": "image",
        "ema_decay": 0.0,
        "loss_parameters": {"dice_weight": 1.0},
        "anywhere_share": 0.3,
        "seed": 1,
    }


def evaluated(folder: Path) -> dict[str, str]:
    """The last row of an evaluation's scores on the validation section."""
    (path,) = (folder / "eval").glob("*-validation/scores.csv")
    return read_csv(path)[-1]


# -- sampling and moving average -----------------------------------------------------------------------------------


def test_sampling_by_class_is_resumed_to_the_last_bit_and_does_not_depend_on_workers(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path
) -> None:
    common = {"bundle": "unet", "dataset_dir": str(tiny_dataset), "sampling": "class", "anywhere_share": 0.25}
    run_bundle(**common, max_epochs=2, output_dir=str(tmp_path / "whole"))
    run_bundle(**common, max_epochs=1)
    run_bundle(**common, max_epochs=2, resume=True, num_workers=2)
    assert multiprocessing.active_children() == []
    scores, resumed_scores = (read_csv(tmp_path / name / "eval" / "epochs.csv") for name in ("whole", "out"))
    assert scores == resumed_scores
    whole, resumed = (checkpoint(tmp_path / name / "models" / "progress.pt") for name in ("whole", "out"))
    assert equal(whole["network"], resumed["network"])
    run_bundle(**{**common, "sampling": "image"}, max_epochs=2, output_dir=str(tmp_path / "image"))
    assert not equal(whole["network"], checkpoint(tmp_path / "image" / "models" / "progress.pt")["network"])


def test_the_moving_average_is_what_is_validated_kept_and_resumed(
    run_bundle: Run, tiny_dataset: Path, tmp_path: Path
) -> None:
    """In two stages, the first of which is frozen in the second; with dropout and accumulated gradients."""
    stages = ["front", "context"]
    common = {"dataset_dir": str(tiny_dataset), "stages": stages, "ema_decay": 0.5, "micro_batch_size": 2}
    common |= {"learning_rate": {"front": 0.05, "context": 0.01}}
    run_bundle(**common, max_epochs=2, keep="last", patience=0, output_dir=str(tmp_path / "whole"))
    whole = checkpoint(tmp_path / "whole" / "models" / "progress.pt")
    average = {k.removeprefix("module."): v for k, v in whole["average"].items() if k.startswith("module.")}
    kept = checkpoint(tmp_path / "whole" / "models" / "context.pt")
    front = checkpoint(tmp_path / "whole" / "models" / "front.pt")
    assert equal(kept, average)
    assert not equal(kept, whole["network"])
    assert whole["average"]["n_averaged"] == 4  # 8 crops in batches of 4, twice
    assert torch.equal(kept["conv1_1.weight"], front["conv1_1.weight"])
    assert not torch.equal(kept["context1.weight"], front["context1.weight"])

    run_bundle("evaluate", dataset_dir=str(tiny_dataset), output_dir=str(tmp_path / "whole"))
    again = evaluated(tmp_path / "whole")
    record = json.loads((tmp_path / "whole" / "models" / "context.json").read_text())
    assert float(again["mean_iou"]) == pytest.approx(record["validation"]["mean_iou"], abs=1e-6)

    run_bundle(**common, max_epochs={"front": 2, "context": 1}, keep="last", patience=0)
    run_bundle(**common, max_epochs=2, keep="last", patience=0, resume=True)
    resumed = checkpoint(tmp_path / "out" / "models" / "progress.pt")
    assert equal(whole["average"], resumed["average"])
    assert equal(whole["network"], resumed["network"])
    assert equal(kept, checkpoint(tmp_path / "out" / "models" / "context.pt"))
    with refused("ema_decay: 0.5 → 0.0"):
        run_bundle(**{**common, "ema_decay": 0.0}, max_epochs=3, keep="last", patience=0, resume=True)


def test_the_best_epoch_is_that_of_the_average(run_bundle: Run, tiny_dataset: Path, tmp_path: Path) -> None:
    run_bundle(bundle="unet", dataset_dir=str(tiny_dataset), max_epochs=3, ema_decay=0.9)
    best = checkpoint(tmp_path / "out" / "models" / "progress.pt")["best"]
    assert equal(best["weights"], checkpoint(tmp_path / "out" / "models" / "unet.pt"))
    run_bundle("evaluate", bundle="unet", dataset_dir=str(tiny_dataset))
    again = evaluated(tmp_path / "out")
    assert float(again["mean_iou"]) == pytest.approx(best["scores"]["mean_iou"], abs=1e-6)
