"""Annotations of the VGG Image Annotator: projects, exports and tables of both versions, and damaged files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

ROWS, COLUMNS = 20, 30
CLASSES = "background,gland,tumor"


def images_in(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % 250 + number).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return images_in(tmp_path / "images", "p0.png", "p1.png")


RECT = {"name": "rect", "x": 2, "y": 3, "width": 10, "height": 13}  # 130 pixels
CIRCLE = {"name": "circle", "cx": 20, "cy": 10, "r": 2}  # 12 pixels: see test_via_outlines
ELLIPSE = {"name": "ellipse", "cx": 4, "cy": 4, "rx": 3, "ry": 1, "theta": 0}  # 12 pixels, 6 of them in the rect
POLYGON = {"name": "polygon", "all_points_x": [4, 8, 8, 4], "all_points_y": [8, 8, 12, 12]}  # 16, in the rect
LINE = {**POLYGON, "name": "polyline"}
POINT = {"name": "point", "cx": 25, "cy": 15}  # a disk of 13 pixels


def region(shape: Any, name: Any = "tumor", **others: Any) -> dict[str, Any]:
    return {"shape_attributes": shape, "region_attributes": {"finding": name, **others}}


def entries(path: Path, *regions: list[Any], version: int = 2) -> dict[str, Any]:
    """The entry of each image as VIA writes it; version 1 has regions as an object."""
    made = {}
    for number, own in enumerate(regions):
        size = (path / f"p{number}.png").stat().st_size
        kept: Any = own if version == 2 else {str(place): one for place, one in enumerate(own)}
        made[f"p{number}.png{size}"] = {
            "filename": f"p{number}.png", "size": size, "regions": kept, "file_attributes": {"caption": ""},
        }  # fmt: skip
    return made


def project(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "_via_settings": {"ui": {}, "core": {"filepath": {}}, "project": {"name": "mine"}},
        "_via_img_metadata": content,
        "_via_attributes": {"region": {"finding": {"type": "dropdown", "options": {}}}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(content),
    }


def table(path: Path, content: dict[str, Any], first: str = "filename") -> Path:
    with path.open("w", newline="") as file:
        rows = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
        columns = ["file_size", "file_attributes", "region_count", "region_id"]
        rows.writerow([first, *columns, "region_shape_attributes", "region_attributes"])
        for one in content.values():
            head = [one["filename"], one["size"], "{}", len(one["regions"])]
            for number, own in enumerate(one["regions"] or [{"shape_attributes": {}, "region_attributes": {}}]):
                rows.writerow([*head, number, *(json.dumps(own[f"{kind}_attributes"]) for kind in ("shape", "region"))])
    return path


def saved(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def imported(tmp_path: Path, images: Path, annotations: Path, *options: str) -> list[np.ndarray]:
    """Label maps of the images in the order of their names."""
    out, listing = tmp_path / "out", tmp_path / "map.csv"
    listing.unlink(missing_ok=True)
    words = ["via", str(images), str(annotations), str(out), "--quiet", "--validation", "0.5", "--overwrite"]
    classes = [] if "--classes" in options else ["--classes", CLASSES]
    assert main([*words, *classes, "--private_map", str(listing), *options]) == 0
    keys = dict(reversed(line.split(",")[::2]) for line in listing.read_text().splitlines()[1:])
    keys = {Path(source).stem: key for source, key in keys.items()}
    return [np.array(open_array(out / "labels" / f"{keys[name]}.npy")) for name in sorted(keys)]


@pytest.mark.parametrize("form", ["project", "json", "json of version 1", "csv", "csv of version 1"])
def test_every_form_gives_the_same_maps(tmp_path: Path, images: Path, form: str) -> None:
    content = entries(
        images,
        [region(RECT, "gland"), region(CIRCLE), region(POLYGON)],
        [region(ELLIPSE, "gland")],
        version=1 if form == "json of version 1" else 2,
    )
    if form.startswith("csv"):
        path = table(tmp_path / "via.csv", content, "#filename" if form.endswith("1") else "filename")
    else:
        path = saved(tmp_path / "via.json", project(content) if form == "project" else content)
    first, second = imported(tmp_path, images, path)
    expected = np.zeros((ROWS, COLUMNS), np.uint8)
    expected[3:16, 2:12] = 1
    expected[8:12, 4:8] = 2
    expected[8:12, 19:21] = expected[9:11, 18:22] = 2
    np.testing.assert_array_equal(first, expected)
    expected = np.zeros((ROWS, COLUMNS), np.uint8)
    expected[3:5, 1:7] = 1
    np.testing.assert_array_equal(second, expected)


def test_lines_points_and_images_without_regions(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = entries(images, [region(LINE), region(POINT)], [])
    content["p1.png-1"] = content.popitem()[1] | {"size": -1}  # an image that VIA knows by its address
    first, second = imported(tmp_path, images, table(tmp_path / "via.csv", content))
    assert [(first == 2).sum(), second.any()] == [16 + 13, False]
    notes = " ".join(capsys.readouterr().out.split())
    assert "1 lines were closed, and taken as outlines" in notes
    assert "1 points were drawn as disks of radius 2 pixels" in notes
    assert "1 images are listed without a region of a class, and became background" in notes
    assert "by their size in bytes" not in notes
    content["p1.png-1"]["size"] = 7
    imported(tmp_path, images, saved(tmp_path / "via.json", content))
    assert "1 files are not those that were annotated" in " ".join(capsys.readouterr().out.split())


def test_the_attribute_and_its_kinds(tmp_path: Path, images: Path) -> None:
    content = entries(
        images,
        [region(RECT, {"gland": True, "tumor": False}, side="L"), region(CIRCLE, "tumor", side="R")],
        [region(RECT, "undefined"), region(CIRCLE, ""), region(POLYGON, {"tumor": False}), region(ELLIPSE, " tumor ")],
    )
    first, second = imported(tmp_path, images, saved(tmp_path / "a.json", content), "--attribute", "finding")
    assert [(first == 1).sum(), (first == 2).sum(), (second > 0).sum(), (second == 2).sum()] == [130, 12, 12, 12]
    path = saved(tmp_path / "b.json", entries(images, [{"shape_attributes": RECT, "region_attributes": {}}], []))
    words = ["--classes", "background,tumor", "--merge", "unclassified=tumor"]
    assert (imported(tmp_path, images, path, *words)[0] == 1).sum() == 130
    content = entries(images, [region(RECT, 1), region(CIRCLE, 2)], [])
    first, _ = imported(tmp_path, images, saved(tmp_path / "c.json", content), "--classes", "0,1,2")
    assert [(first == 1).sum(), (first == 2).sum()] == [130, 12]


HOSTILE: dict[str, tuple[Any, str]] = {
    "a list": ([1], "has no filename and regions"),
    "an empty project": ({"_via_img_metadata": {}}, "lists no image"),
    "version 3": (
        {"project": {}, "config": {}, "attribute": {}, "file": {}, "metadata": {}, "view": {}},
        "a project of VIA 3",
    ),
    "another tool": ({"shapes": [], "imagePath": "p0.png"}, "holds LabelMe annotations"),
    "COCO": ({"images": [], "annotations": [], "categories": []}, "holds COCO annotations; import them with .* coco"),
    "a path to the outside": ({"a": {"filename": "../../etc/passwd", "regions": []}}, "outside the folder"),
    "name that is a number": ({"a": {"filename": 5, "regions": []}}, "has no filename and regions"),
    "region that is null": ({"a": {"filename": "p0.png", "regions": [None]}}, "region 1 of 'p0.png': holds a NoneType"),
    "attributes that are a list": (
        {"a": {"filename": "p0.png", "regions": [{"shape_attributes": RECT, "region_attributes": []}]}},
        "region_attributes are not an object",
    ),
    "a shape of another name": (
        {"a": {"filename": "p0.png", "regions": [region({"name": "star"})]}},
        "its shape is 'star'",
    ),
    "not a number": (
        {"a": {"filename": "p0.png", "regions": [region({**CIRCLE, "r": float("nan")})]}},
        "its r is 'nan', not a number",
    ),
    "a bool": ({"a": {"filename": "p0.png", "regions": [region({**CIRCLE, "r": True})]}}, "its r is 'True'"),
    "two boxes": (
        {"a": {"filename": "p0.png", "regions": [region(CIRCLE, {"gland": True, "tumor": True})]}},
        "'gland' and 'tumor'; expected one class",
    ),
    "a list as a class": ({"a": {"filename": "p0.png", "regions": [region(CIRCLE, ["tumor"])]}}, "expected a text"),
    "two attributes": (
        {"a": {"filename": "p0.png", "regions": [region(CIRCLE, "tumor", side="L")]}},
        "attributes 'finding', 'side'; specify the class with --attribute",
    ),
    "unknown class": (
        {"a": {"filename": "p0.png", "regions": [region(CIRCLE, "Tumour")]}},
        "unknown class Tumour; known are background, gland, tumor",
    ),
    "one image of two": ({"a": {"filename": "p0.png", "regions": []}}, "p1.png: is not listed in .*--unannotated"),
    "one image twice": (
        {"a": {"filename": "p0.png", "regions": []}, "b": {"filename": "p0.png", "size": 9, "regions": []}},
        "are both",
    ),
    "a resized copy": (
        {
            "a": {"filename": "p0.png", "regions": [region({**RECT, "x": 300})]},
            "b": {"filename": "p1.png", "regions": []},
        },
        "a resized copy",
    ),
    "a giant": (
        {
            "a": {"filename": "p0.png", "regions": [region({**CIRCLE, "r": 1e300})]},
            "b": {"filename": "p1.png", "regions": []},
        },
        "its r is '1e\\+300', not a number",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_line(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    content, message = HOSTILE[name]
    path = saved(tmp_path / "via.json", content)
    assert main(["via", str(images), str(path), str(tmp_path / "out"), "--quiet", "--classes", CLASSES]) == 2
    error = capsys.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    with pytest.raises(UserError, match=message):
        raise UserError(error)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "has no column filename, region_shape_attributes"),
        ("", "has no column filename"),
        ('filename,region_shape_attributes,region_attributes\np0.png,"{""name"": 1}",{}\n', "row 2: its shape is '1'"),
        ("filename,region_shape_attributes,region_attributes\np0.png,{,{}\n", "row 2: its attributes are not readable"),
        ("filename,region_shape_attributes,region_attributes\n,{},{}\n", "row 2 has no filename"),
        ("filename,region_shape_attributes,region_attributes\n", "lists no image"),
    ],
)
def test_damaged_tables(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    path = tmp_path / "via.csv"
    path.write_text(content)
    assert main(["via", str(images), str(path), str(tmp_path / "out"), "--quiet", "--classes", CLASSES]) == 2
    assert message in capsys.readouterr().err


def test_images_that_are_not_listed(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path / "via.json", entries(images, [region(RECT)]))
    images_in(images, "p0.png", "p1.png", "p2.png")
    maps = imported(tmp_path, images, path, "--unannotated", "background")
    assert [int(one.sum()) for one in maps] == [260, 0, 0]
    assert "2 images without annotations became background" in " ".join(capsys.readouterr().out.split())
    assert main(["via", str(images), str(path), str(tmp_path / "o"), "--classes", CLASSES, "--unannotated", "no"]) == 2
    path = saved(tmp_path / "via.json", entries(images, [region(RECT)], [region(RECT)]))
    assert len(imported(tmp_path, images, path, "--unannotated", "skip")) == 2
    assert Dataset.load(tmp_path / "out").labels[2] == "tumor"
