"""`scripts.prepare crops`: a dataset of balanced crops and replicas of another dataset's training images."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.materialized_crops import _cases
from scripts.importers.writing.cases import Case
from scripts.importers.writing.writer import write_dataset
from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.reading.mammogram import Mammogram

SHAPE = (40, 32)


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Six subjects, a square of the rare class in each; the image's values tell row and column."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    cases = []
    for number in range(6):
        label = (columns < 16).astype(np.uint8)
        label[20:24, number : number + 4] = 2
        image = Mammogram(
            (100 * rows + columns + number).astype(np.uint16), (0, 4095), "L", "CC", (0.1, 0.2), "PixelSpacing"
        )
        cases.append(Case(Path(__file__), f"p{number}", lambda i=image: i, lambda shape, m=label: m))
    unlabelled = Mammogram(np.arange(1280, dtype=np.uint16).reshape(SHAPE), (0, 4095), "L")
    cases.append(Case(Path(__file__), "p9", lambda: unlabelled))
    labels = ["background", "gland", "tumor"]
    write_dataset(tmp_path / "whole", cases, ImportOptions(licence="L", flip="right", progress=False), labels=labels)
    return tmp_path / "whole"


def make(dataset: Path, out: str, *options: object) -> Path:
    assert main(["crops", str(dataset), str(dataset.parent / out), "--json", *map(str, options)]) == 0
    return dataset.parent / out


def arrays(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*.npy"))}


def test_crops_show_the_rare_class_and_fit_their_labels(dataset, capsys) -> None:
    out = make(dataset, "crops", "--crop_size", 8, "--per_image", 5)
    summary = json.loads(capsys.readouterr().out)
    before, after = Dataset.load(dataset), Dataset.load(out)
    assert (summary["training"], summary["validation"], summary["test"]) == (20, 2, 1)
    assert after.class_names == before.class_names
    assert after.ignore_label is None
    for item in after.items("training"):
        image, label = open_array(item["image"]), open_array(item["label"])
        assert (image.shape, label.shape, image.dtype) == ((8, 8), (8, 8), np.uint16)
        assert (label == 2).any()
        np.testing.assert_array_equal(np.diff(image.astype(int), axis=0), 100)  # a piece of the image, as it was
        np.testing.assert_array_equal(np.diff(image.astype(int), axis=1), -1)  # of the mirrored one
        assert item["spacing_mm"] == [0.1, 0.2]
    assert len({item["case"] for item in after.items("training")}) == 20


def test_subjects_sections_and_what_is_known_of_them_stay(dataset) -> None:
    out = make(dataset, "crops", "--crop_size", 8, "--per_image", 2, "--name", "n")
    before, after = (json.loads((folder / "dataset.json").read_text()) for folder in (dataset, out))
    for section in ("training", "validation", "test"):
        assert {e["subject"] for e in after[section]} == {e["subject"] for e in before[section]}
        assert {e["source_sha256"] for e in after[section]} == {e["source_sha256"] for e in before[section]}
    for section in ("validation", "test"):
        for one, other in zip(before[section], after[section], strict=True):
            assert {k: one[k] for k in ("image_sha256", "label_sha256", "flipped")} == {
                k: other[k] for k in ("image_sha256", "label_sha256", "flipped")
            }
    assert (after["split"], after["flip"], after["licence"], after["name"]) == (before["split"], "right", "L", "n")
    assert after["crops"] == {
        **{"crop_size": 8, "per_image": 2, "augment": 1, "seed": 0},
        "of": Dataset.load(dataset).digest,
    }
    assert main(["check", str(out), "--json"]) == 0


def test_the_seed_decides_and_neither_the_order_nor_the_process(dataset) -> None:
    options = ("--crop_size", 8, "--per_image", 3, "--augment", 3)
    first = make(dataset, "a", *options)
    assert arrays(first) == arrays(make(dataset, "b", *options))
    settings = {"crop_size": 8, "per_image": 3, "augment": 3, "seed": 0}
    cases = list(_cases(Dataset.load(dataset), settings, None))
    there = [case.read_image().pixels for case in cases]
    sent = [pickle.loads(pickle.dumps(case)) for case in cases]  # as to another process
    back = [case.read_image().pixels for case in reversed(sent)]
    assert all(np.array_equal(one, other) for one, other in zip(there, reversed(back), strict=True))
    assert arrays(first) != arrays(make(dataset, "c", *options, "--seed", 1))
    fewer = make(dataset, "d", "--crop_size", 8, "--per_image", 1)
    digests = [
        {e["image_sha256"] for e in json.loads((f / "dataset.json").read_text())["training"]} for f in (first, fewer)
    ]
    assert digests[1] < digests[0]


def test_replicas_stand_in_training_only_and_say_what_they_are(dataset) -> None:
    out = make(dataset, "crops", "--crop_size", 8, "--per_image", 2, "--augment", 10)
    content = json.loads((out / "dataset.json").read_text())
    assert len(content["training"]) == 4 * 2 * 10
    assert sum("replica" in entry for entry in content["training"]) == 4 * 2 * 9
    assert {name for e in content["training"] for name in e.get("replica", [])} >= {"mirror", "rotation", "noise"}
    assert not any("replica" in entry for part in ("validation", "test") for entry in content[part])
    training = {entry["subject"] for entry in content["training"]}
    assert not training & {entry["subject"] for entry in content["validation"]}


def test_whole_images_and_images_smaller_than_a_crop(dataset) -> None:
    whole = Dataset.load(make(dataset, "whole images", "--crop_size", 0, "--augment", 2))
    assert len(whole.items("training")) == 8
    assert {open_array(item["image"]).shape for item in whole.items("training")} == {SHAPE}
    large = Dataset.load(make(dataset, "large", "--crop_size", 36, "--per_image", 1))
    assert large.ignore_label == 255
    for item in large.items("training"):
        label = open_array(item["label"])
        assert label.shape == (36, 36)
        assert (label[:, :2] == 255).all()


def test_refused(dataset, tmp_path, capsys) -> None:
    assert main(["crops", str(tmp_path / "absent"), str(tmp_path / "x")]) == 2
    assert "not a dataset folder" in capsys.readouterr().err
    assert main(["crops", str(dataset), str(tmp_path / "x"), "--per_image", "0"]) == 2
    assert main(["crops", str(dataset), str(dataset), "--overwrite"]) == 2
    assert "holds the source" in capsys.readouterr().err
    assert main(["crops", str(dataset), str(tmp_path / "x"), "--windowing", "none"]) == 2
