"""COCO instances JSON: masks worked out by hand, categories to classes, damaged and hostile files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.importers.sources import listed_images
from scripts.importers.sources.coco_file import read_coco
from scripts.importers.sources.coco_runs import parse_runs
from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

SHAPE = (4, 5)  # rows, columns of the masks by hand
BLOCK = [  # as 0 and 1 down the columns: 5 zeros, 2 ones, 2, 2, 2, 2, 4, 1
    ".....",
    ".XXX.",
    ".XXX.",
    "....X",
]
COUNTS = [5, 2, 2, 2, 2, 2, 4, 1]


def mask(picture: list[str]) -> np.ndarray:
    return np.array([[letter == "X" for letter in line] for line in picture])


@pytest.mark.parametrize(
    ("counts", "picture"),
    [
        (COUNTS, BLOCK),
        ("5220002O", BLOCK),  # as pycocotools 2.0.11 writes it; from the fourth on, differences to the second before
        ([20], None),
        ("d0", None),  # 20 is "d": 20 + 32, as another group follows, + 48
        ([0, 20], ["XXXXX"] * 4),
        ([0, 1, 18, 1], ["X....", ".....", ".....", "....X"]),
        ([3, 1, 0, 2, 14], [".X...", ".X...", ".....", "X...."]),  # a run of no zeros joins two of ones
    ],
    ids=["list", "text", "empty", "empty text", "full", "corners", "joined"],
)
def test_runs_by_hand(counts: Any, picture: list[str] | None) -> None:
    runs = parse_runs({"size": list(SHAPE), "counts": counts})
    if picture is None:
        assert runs is None
        return
    assert runs is not None
    drawn = np.zeros(SHAPE, bool)
    assert runs.draw(drawn) == mask(picture).sum()
    np.testing.assert_array_equal(drawn, mask(picture))


def test_long_text_of_another_decoder() -> None:
    """40 x 30: rows 10 to 29 of columns 4 to 9 without a hole of 2 x 2, and two corners; by pycocotools 2.0.11."""
    runs = parse_runs({"size": [40, 30], "counts": "01Y5c0[KF^ONb02^ONb0<0000eh0]O"})
    expected = np.zeros((40, 30), bool)
    expected[10:30, 4:10] = True
    expected[20:22, 5:7] = False
    expected[0, 0] = expected[39, 29] = True
    drawn = np.zeros((40, 30), bool)
    assert runs is not None
    runs.draw(drawn)
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"size": [4, 5], "counts": [5, 2**40]}, "do not fill 4 x 5"),
        ({"size": [4, 5], "counts": [2**62, 2]}, "integer numbers of pixels"),
        ({"size": [4, 5], "counts": [2**61] * 8}, "do not fill"),  # their sum would come round to 0
        ({"size": [4, 5], "counts": [5, 2]}, "do not fill"),
        ({"size": [4, 5], "counts": [-1, 21]}, "hold '-1'"),
        ({"size": [4, 5], "counts": [True, 19]}, "hold 'True'"),
        ({"size": [4, 5], "counts": [4.0, 16.0]}, "hold '4.0'"),
        ({"size": [4, 5], "counts": []}, "counts hold"),
        ({"size": [4, 5], "counts": ""}, "not compressed runs"),
        ({"size": [4, 5], "counts": "é"}, "not compressed runs"),
        ({"size": [4, 5], "counts": "PPPPPPPPPPPP0"}, "not compressed runs"),  # 65 bits
        ({"size": [4, 5], "counts": "5P"}, "not compressed runs"),  # ends within a number
        ({"size": [4, 5], "counts": "5O0"}, "do not fill"),  # -1
        ({"size": [4, 5], "counts": {"a": 1}}, "a dict"),
        ({"size": [4, True], "counts": [4]}, "its size is"),
        ({"size": [4], "counts": [4]}, "its size is"),
        ({"size": [2**40, 2**40], "counts": [1]}, "its size is"),
        ({"counts": [4]}, "its size is None"),
    ],
)
def test_damaged_runs(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_runs(content)


ROWS, COLUMNS = 20, 30


def entry(number: int, **other: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"p{number}.png", "height": ROWS, "width": COLUMNS, **other}


def outline(image: Any, category: Any, segmentation: Any, **other: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "segmentation": segmentation, "iscrowd": 0, **other}


def box(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def runs_of(drawn: np.ndarray) -> dict[str, Any]:
    """Runs by counting along the columns, one pixel after the other."""
    counts, value = [0], False
    for pixel in drawn.T.ravel():
        if pixel != value:
            counts, value = [*counts, 0], not value
        counts[-1] += 1
    return {"size": list(drawn.shape), "counts": counts}


TWO = [{"id": 7, "name": "tumor"}, {"id": 3, "name": "gland", "supercategory": "tissue"}]


def images_in(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 250 + number).astype(np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def saved(folder: Path, annotations: list[Any], images: list[Any] | None = None, categories: Any = TWO) -> Path:
    path = folder / "instances.json"
    listed = [entry(0), entry(1)] if images is None else images
    path.write_text(json.dumps({"images": listed, "annotations": annotations, "categories": categories}))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return images_in(tmp_path / "images", "p0.png", "p1.png")


def imported(tmp_path: Path, images: Path, annotations: Path, *options: str) -> dict[str, np.ndarray]:
    """Label map by the stem of its image."""
    table = tmp_path / "map.csv"
    table.unlink(missing_ok=True)
    words = ["coco", str(images), str(annotations), str(tmp_path / "out"), "--quiet", "--validation", "0.5"]
    assert main([*words, "--private_map", str(table), "--overwrite", *options]) == 0
    data = Dataset.load(tmp_path / "out")
    keys = {line.split(",")[0]: line.split(",")[-1] for line in table.read_text().splitlines()[1:]}
    items = [item for section in ("training", "validation", "test") for item in data.items(section)]
    labels = {Path(item["label"]).stem: np.array(open_array(Path(item["label"]))) for item in items}
    return {Path(source).stem: labels[key] for key, source in keys.items()}


def test_polygons_runs_and_overlaps(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tumor = np.zeros((ROWS, COLUMNS), bool)
    tumor[8:12, 9:15] = True
    annotations = [
        outline(0, 7, runs_of(tumor)),
        outline(0, 3, [box(2, 3, 12, 16), box(20, 3, 24, 5)]),  # two parts of one object; the tumor lies on top
        outline(0, 3, [], bbox=[1, 2, 3, 4]),
        outline(0, 3, [[1, 2, 3, 4]]),
        outline(1, 7, [box(25, 15, 33, 19)]),  # leaves the image by a tenth
    ]
    labels = imported(tmp_path, images, saved(tmp_path, annotations))
    expected = np.zeros((ROWS, COLUMNS), np.uint8)
    expected[3:16, 2:12] = expected[3:5, 20:24] = 1  # categories in the order of their ids: gland, tumor
    expected[8:12, 9:15] = 2
    np.testing.assert_array_equal(labels["p0"], expected)
    np.testing.assert_array_equal(np.argwhere(labels["p1"] == 2)[[0, -1]], [[15, 25], [18, 29]])
    assert list(Dataset.load(tmp_path / "out").labels.values()) == ["background", "gland", "tumor"]
    notes = " ".join(capsys.readouterr().out.split())
    assert "1 annotations have a box and no outline, and were skipped" in notes
    assert "1 polygons have fewer than three points, and were skipped" in notes
    assert "tumor over gland (12)" in notes


def test_crowds_are_a_class_or_ignored(tmp_path: Path, images: Path) -> None:
    crowd = np.zeros((ROWS, COLUMNS), bool)
    crowd[0:10, 0:10] = True
    path = saved(tmp_path, [outline(0, 7, [box(5, 5, 15, 15)]), outline(0, 3, runs_of(crowd), iscrowd=1)])
    labels = imported(tmp_path, images, path)
    assert [(labels["p0"] == value).sum() for value in (1, 2)] == [75, 100]
    labels = imported(tmp_path, images, path, "--crowd", "ignore")
    assert [(labels["p0"] == value).sum() for value in (1, 2, 255)] == [0, 100, 75]


def test_background_category_classes_and_merging(tmp_path: Path, images: Path) -> None:
    categories = [{"id": 0, "name": "mass"}, {"id": 1, "name": "_background_"}, {"id": 2, "name": "skin"}]
    path = saved(tmp_path, [outline(0, 0, [box(1, 1, 3, 3)]), outline(1, 2, [box(1, 1, 4, 4)])], None, categories)
    imported(tmp_path, images, path, "--merge", "skin=_background_")
    assert list(Dataset.load(tmp_path / "out").labels.values()) == ["_background_", "mass"]
    labels = imported(tmp_path, images, path, "--classes", "rest,skin,mass")
    assert [(labels["p0"] == 2).sum(), (labels["p1"] == 1).sum()] == [4, 9]
    labels = imported(tmp_path, images, path, "--task", "tumor")
    assert [(labels["p0"] == 1).sum(), (labels["p1"] == 1).sum()] == [4, 0]


def test_several_files_and_names_with_folders(tmp_path: Path) -> None:
    folder = images_in(tmp_path / "images", "a/p0.png", "b/p0.png", "b/c/p1.png")
    parts = tmp_path / "parts"
    parts.mkdir()
    first = saved(parts, [outline(0, 7, [box(0, 0, 2, 2)])], [entry(0, file_name="a\\p0.png")])
    first.rename(parts / "one.json")
    named = [entry(0, file_name="b/p0.png"), entry(1, file_name="elsewhere/p1.jpg")]
    saved(parts, [outline(0, 3, [box(0, 0, 3, 3)]), outline(1, 3, [box(0, 0, 4, 4)])], named)
    table = tmp_path / "out"
    assert main(["coco", str(folder), str(parts), str(table), "--quiet", "--split_by", "image"]) == 0
    data = Dataset.load(table)
    items = [item for section in ("training", "validation") for item in data.items(section)]
    counts = sorted(np.bincount(open_array(Path(item["label"])).ravel(), minlength=3)[1:].tolist() for item in items)
    assert counts == [[0, 4], [9, 0], [16, 0]]


HOSTILE: dict[str, tuple[Any, str]] = {
    "not an object": ([1, 2], "holds list; expected COCO"),
    "VIA": ({"a": {"filename": "a", "regions": []}}, "holds annotations of the VGG Image Annotator"),
    "no categories": ({"images": [], "annotations": []}, "holds images, annotations; expected COCO"),
    "image id twice": ({"images": [entry(0), entry(0)]}, "image 2: its id 0 is repeated"),
    "bool as an id": ({"images": [entry(0, id=True)]}, "image 1: its id is 'True'"),
    "image that is a number": ({"images": [5]}, "image 1: its id is 'None'"),
    "no file name": ({"images": [entry(0, file_name=None)]}, "image 1: its file_name is 'None'"),
    "size that is no number": ({"images": [entry(0, height=float("nan"))]}, "height or width is 'nan'"),
    "half a size": ({"images": [{"id": 0, "file_name": "p0.png", "height": 4}]}, "height or width is 'None'"),
    "category without name": ({"categories": [{"id": 1}]}, "category 1: its name is 'None'"),
    "annotation of no image": ({"annotations": [outline(9, 7, [])]}, "its image_id 9 belongs to no image"),
    "text for a number": ({"annotations": [outline("0", 7, [])]}, "image_id '0' belongs to no image"),
    "no category of the id": ({"annotations": [outline(0, 1, [])]}, "category_id 1 belongs to no category"),
    "annotation that is null": ({"annotations": [None]}, "annotation 1: its image_id is 'None'"),
    "iscrowd 2": ({"annotations": [outline(0, 7, [box(1, 1, 2, 2)], iscrowd=2)]}, "iscrowd is '2'"),
    "odd polygon": ({"annotations": [outline(0, 7, [[1, 2, 3, 4, 5, 6, 7]])]}, "polygon has 7 numbers"),
    "polygon not in a list": ({"annotations": [outline(0, 7, box(1, 1, 2, 2))]}, "its polygon is not a list"),
    "text as a polygon": ({"annotations": [outline(0, 7, ["x"])]}, "its polygon is not a list"),
    "text as a segmentation": ({"annotations": [outline(0, 7, "x")]}, "segmentation is a str"),
    "not a number": ({"annotations": [outline(0, 7, [[float("nan"), *box(1, 1, 2, 2)[1:]]])]}, "its polygon is 'nan'"),
    "bool in a polygon": ({"annotations": [outline(0, 7, [[True, *box(1, 1, 2, 2)[1:]]])]}, "its polygon is 'True'"),
    "infinite": ({"annotations": [outline(0, 7, [[float("inf"), *box(1, 1, 2, 2)[1:]]])]}, "its polygon is 'inf'"),
    "mask of another size": ({"annotations": [outline(0, 7, runs_of(np.ones((3, 3), bool)))]}, "mask is 3 x 3"),
    "runs beyond the image": (
        {"annotations": [outline(0, 7, {"size": [ROWS, COLUMNS], "counts": [0, 2**40]})]},
        "annotation 1: its runs do not fill",
    ),
    "boxes only": ({"annotations": [outline(0, 7, [], bbox=[1, 2, 3, 4])]}, "its 1 annotations are boxes"),
    "path to the outside": ({"images": [entry(0, file_name="../../p0.png"), entry(1)]}, "outside the folder"),
    "absolute path": ({"images": [entry(0, file_name="/etc/p0.png"), entry(1)]}, "outside the folder"),
    "path of a drive": ({"images": [entry(0, file_name="C:\\data\\p0.png"), entry(1)]}, "outside the folder"),
    "two entries of an image": ({"images": [entry(0), entry(1, file_name="x/p0.png")]}, "are both"),
    "other images": ({"images": [entry(0, file_name="q.png")]}, "none of the 2 images in .* is listed; it lists q.png"),
    "an image is not listed": ({"images": [entry(0)]}, "p1.png: is not listed in"),
    "images of another size": ({"images": [entry(0, height=40, width=60), entry(1)]}, "is 20 x 30 .* of 40 x 60"),
    "outline far outside": (
        {
            "images": [{"id": 0, "file_name": "p0.png"}, entry(1)],
            "annotations": [outline(0, 7, [box(1, 1, 60, 9)])],
        },
        "resized copy",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_line(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content, message = HOSTILE[name]
    if isinstance(content, dict) and name not in ("no categories", "VIA"):
        content = {"images": [entry(0), entry(1)], "annotations": [], "categories": TWO, **content}
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    assert main(["coco", str(images), str(path), str(tmp_path / "out"), "--quiet"]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    with pytest.raises(UserError, match=message):
        raise UserError(error)
    assert not (tmp_path / "out").exists()


def test_damaged_text_and_limits(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"not readable as JSON .*; expected a file of COCO"):
        read_coco(path)
    path = saved(tmp_path, [outline(0, 7, runs_of(np.ones((ROWS, COLUMNS), bool)))] * 3)
    words = ["coco", str(images), str(path), str(tmp_path / "out"), "--quiet"]
    monkeypatch.setattr(listed_images, "RUN_PIXELS", 2 * ROWS * COLUMNS)
    assert main(words) == 2
    monkeypatch.setattr("transforms.reading.limits.COLLECTION_BYTES", 100)
    with pytest.raises(UserError, match="more than 0 MB of annotations; simplify"):
        read_coco(path)
    assert main([*words, "--crowd", "maybe"]) == 2
