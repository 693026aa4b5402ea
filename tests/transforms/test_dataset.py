"""The dataset folder: its content, and refusals with a remedy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.dataset import Dataset, open_array
from transforms.errors import UserError


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    content = json.loads((folder / "dataset.json").read_text())
    edit(content)
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_classes_weights_and_ubiquitous_classes(tiny_dataset) -> None:
    change(tiny_dataset, lambda c: c["pixel_fraction"].update(background=0.7, gland=0.05, tumor=0.25))
    dataset = Dataset.load(tiny_dataset)
    assert dataset.labels == {0: "background", 1: "gland", 2: "tumor"}
    assert dataset.class_names == ["background", "gland", "tumor"]
    assert dataset.num_classes == 3
    assert dataset.class_weights() == pytest.approx([0.3, 0.95, 0.75])  # 1 - x/100, x in per cent
    assert dataset.ubiquitous() == [0, 2]
    assert dataset.ubiquitous(1) == [0]
    assert dataset.ubiquitous(0) == []


def test_items_are_fresh_dictionaries_with_absolute_paths(tiny_dataset) -> None:
    dataset = Dataset.load(tiny_dataset)
    first = dataset.items("training")[0]
    assert set(first) == {*("image", "label", "subject", "case", "laterality", "view", "spacing_mm", "intensity_range")}
    assert Path(first["image"]).is_absolute()
    assert open_array(first["image"]).shape == open_array(first["label"]).shape
    assert first["case"] == Path(first["image"]).stem
    first["image"] = "changed"
    first["intensity_range"][1] = 7
    again = dataset.items("training")[0]
    assert again["image"] != "changed"
    assert again["intensity_range"] == [0, 4095]
    with pytest.raises(UserError, match="section is 'train'; expected one of training, validation, test"):
        dataset.items("train")


def test_one_crop_is_read_through_a_memory_map(tiny_dataset) -> None:
    array = open_array(Dataset.load(tiny_dataset).items("training")[0]["image"])
    assert isinstance(array, np.memmap)
    assert array.flags.c_contiguous


def test_digest_depends_on_content_not_on_place_or_order(tiny_dataset, tmp_path) -> None:
    dataset = Dataset.load(tiny_dataset)
    moved = tmp_path / "elsewhere"
    shutil.copytree(tiny_dataset, moved)
    change(moved, lambda c: (c["training"].reverse(), c.update(name="other", reference="other")))
    assert Dataset.load(moved).digest == dataset.digest
    assert Dataset.load(moved).split_digest == dataset.split_digest
    change(moved, lambda c: c["validation"].append(c["training"].pop()))
    assert Dataset.load(moved).digest != dataset.digest
    assert Dataset.load(moved).split_digest != dataset.split_digest


def test_digest_depends_on_labels_the_split_digest_does_not(tiny_dataset) -> None:
    before = Dataset.load(tiny_dataset)
    change(tiny_dataset, lambda c: c["training"][0].update(label_sha256="0" * 64))
    after = Dataset.load(tiny_dataset)
    assert after.digest != before.digest
    assert after.split_digest == before.split_digest
    change(tiny_dataset, lambda c: c.update(ignore_label=255))
    assert Dataset.load(tiny_dataset).digest != after.digest


def test_no_such_folder_says_where_what_and_what_to_do(tmp_path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "dataset.json").write_text("{}")
    with pytest.raises(UserError) as refusal:
        Dataset.load(tmp_path / "god")
    text = str(refusal.value)
    for part in (
        str(tmp_path / "god"),
        "looked for dataset.json",
        "no such folder",
        "good",
        "images/",
        "scripts.prepare",
    ):
        assert part in text
    assert len(text.splitlines()) == 1


def test_folder_without_dataset_json_says_what_it_holds(tmp_path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.png").write_text("")
    with pytest.raises(UserError, match=r"it holds 0\.png, 1\.png, 2\.png, 3\.png, 4\.png …"):
        Dataset.load(tmp_path)


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "version": (lambda c: c.update(format_version=2), r"\['format_version'\]: 1 was expected"),
    "no labels": (lambda c: c.pop("labels"), "'labels' is a required property"),
    "gap in labels": (
        lambda c: c["labels"].update({"4": c["labels"].pop("2")}),
        "label ids are 0, 1, 4; expected 0 to 2",
    ),
    "label twice": (lambda c: c["labels"].update({"2": "gland"}), "same name"),
    "ignore is a class": (lambda c: c.update(ignore_label=1), "ignore_label 1 is also the class 'gland'"),
    "no fraction": (lambda c: c["pixel_fraction"].pop("tumor"), "pixel_fraction has no entry for tumor"),
    "path outside": (
        lambda c: c["training"][0].update(image="images/../../x.npy"),
        r"\['training'\]\[0\]\['image'\]",
    ),
    "absolute path": (lambda c: c["training"][0].update(label="/etc/x.npy"), r"\['training'\]\[0\]\['label'\]"),
    "side": (lambda c: c["training"][0].update(laterality="LEFT"), "'LEFT' is not one of"),
    "spacing": (lambda c: c["training"][0].update(spacing_mm=[0.1, -1]), r"\['spacing_mm'\]"),
    "attribute number": (lambda c: c["training"][0].update(attributes={"age": 46}), "46 is not of type 'string'"),
    "attribute name": (
        lambda c: c["training"][0].update(attributes={"Patient ID": "1"}),
        "'Patient ID' does not match",
    ),
    "attribute text": (lambda c: c["training"][0].update(attributes={"note": "x" * 65}), "is too long"),
    "no training": (lambda c: c.update(training=[]), "the training list is empty"),
    "no validation": (lambda c: c.update(validation=[]), "the validation list is empty"),
    "intensity range": (
        lambda c: c["validation"][0].update(intensity_range=[4095, 4095]),
        r"intensity_range of images/s004_L_CC\.npy is \[4095, 4095\]; expected the smallest and the largest possible",
    ),
    "one class": (lambda c: c.update(labels={"0": "background"}), "expected two or more classes, .*; found 1"),
    "no class": (lambda c: c.update(labels={}), "expected two or more classes, .*; found 0"),
    "no image at all": (lambda c: c.update(training=[], validation=[], test=[]), "the training list is empty"),
    "missing image": (
        lambda c: c["training"][1].update(image="images/gone.npy"),
        r"gone\.npy: missing, though .* lists it under training",
    ),
}


def test_a_folder_of_test_images_only_opens_and_says_why_it_cannot_be_trained_on(tiny_dataset) -> None:
    def only_test(content: dict[str, Any]) -> None:
        images = [{**item, "label": None} for item in content["training"] + content["validation"]]
        content.update(labels={}, pixel_fraction={}, training=[], validation=[], test=images)

    dataset = Dataset.load(change(tiny_dataset, only_test))
    assert [len(dataset.items(section)) for section in ("training", "validation", "test")] == [0, 0, 6]
    assert dataset.num_classes == 0
    for ask in (dataset.class_weights, dataset.ubiquitous):
        with pytest.raises(UserError, match="holds test images only; to train, prepare a dataset with labels"):
            ask()


@pytest.mark.parametrize("case", BROKEN)
def test_broken_dataset_is_refused(tiny_dataset, case) -> None:
    edit, reason = BROKEN[case]
    change(tiny_dataset, edit)
    with pytest.raises(UserError, match=reason) as refusal:
        Dataset.load(tiny_dataset)
    assert str(tiny_dataset) in str(refusal.value)


@pytest.mark.parametrize(("text", "reason"), [("{", "not readable JSON"), ("[1]", "holds a list")])
def test_dataset_json_that_is_no_object(tiny_dataset, text, reason) -> None:
    (tiny_dataset / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=reason):
        Dataset.load(tiny_dataset)


def test_check_labels_accepts_classes_and_the_ignore_label(tiny_dataset) -> None:
    change(tiny_dataset, lambda c: c.update(ignore_label=255))
    dataset = Dataset.load(tiny_dataset)
    items = dataset.items("training")
    label = np.load(items[0]["label"])
    label[0, 0] = 255
    np.save(items[0]["label"], label)
    dataset.check_labels(items)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda label: label + 5, r"holds the values 5, 6, 7; allowed are 0, 1, 2; specify every value"),
        (lambda label: np.where(label == 2, 255, 0), r"0, 255; .* 0/255 mask: .*--values 0=background,255=<name"),
        (lambda label: label[:-1], r"is 39 x 32, its image 40 x 32 \(rows x columns\)"),
        (lambda label: label.astype(np.int64), "holds int64; expected uint8"),
        (lambda label: label[None], r"has shape \(1, 40, 32\)"),
    ],
)
def test_check_labels_names_file_values_and_remedy(tiny_dataset, spoil, reason) -> None:
    dataset = Dataset.load(tiny_dataset)
    path = dataset.items("training")[1]["label"]
    spoiled = spoil(np.load(path))
    np.save(path, spoiled if spoiled.dtype == np.int64 and "int64" in reason else spoiled.astype(np.uint8))
    with pytest.raises(UserError, match=reason) as refusal:
        dataset.check_labels(dataset.items("training"))
    assert str(refusal.value).startswith(path)


def test_check_labels_wants_a_label_and_a_readable_file(tiny_dataset) -> None:
    dataset = Dataset.load(tiny_dataset)
    items = dataset.items("training")
    with pytest.raises(UserError, match="has no label"):
        dataset.check_labels([{**items[0], "label": None}])
    Path(items[0]["label"]).write_bytes(Path(items[0]["label"]).read_bytes()[:100])
    with pytest.raises(UserError, match="not a NumPy array that can be read"):
        dataset.check_labels(items)
    Path(items[0]["label"]).unlink()
    with pytest.raises(UserError, match="no such file"):
        dataset.check_labels(items)
