"""`scripts.prepare`: the command line, and the folder importer."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import PLANTED, ramp, write_dicom
from PIL import Image

from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

VALUES = "64=background,128=adipose,192=gland,255=pectoral muscle"
SHAPE = (24, 16)


def write_pairs(root: Path, subjects: int = 4, suffix: str = "_LI") -> tuple[Path, Path]:
    """Two views of each subject as 12-bit PNG, and label images in which column blocks are the four classes."""
    images, labels = root / "images ä#1", root / "labels ü"
    images.mkdir(parents=True)
    labels.mkdir()
    label = np.repeat(np.repeat(np.array([64, 128, 192, 255], np.uint8), 4)[None], SHAPE[0], axis=0)
    for subject in range(subjects):
        for view in ("LEFT_CC", "RIGHT_MLO"):
            name = f"A_{subject:04d}_1.{view}"
            Image.fromarray(ramp(SHAPE) + subject).save(images / f"{name}.png")
            Image.fromarray(label).save(labels / f"{name}{suffix}.png")
    return images, labels


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Path, Path]:
    return write_pairs(tmp_path / "in")


def run(capsys, *argv: object) -> tuple[int, str, str]:
    code = main([str(part) for part in argv])
    out, err = capsys.readouterr()
    return code, out, err


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_folder_writes_a_dataset_and_a_short_table(tmp_path, pairs, capsys) -> None:
    out = tmp_path / "data set"
    code, text, errors = run(capsys, "folder", *pairs, out, "--values", VALUES, "--bits", 12)
    assert (code, errors) == (0, "")
    for part in ("8 of 4 subjects", "training 6, validation 2", "pectoral muscle", "25.00 %"):
        assert part in text
    dataset = Dataset.load(out)
    assert dataset.name == "data set"
    assert dataset.class_names == ["background", "adipose", "gland", "pectoral muscle"]
    assert dataset.pixel_fraction == dict.fromkeys(dataset.class_names, 0.25)
    assert dataset.class_weights() == [0.75] * 4
    item = {item["case"]: item for item in dataset.items("training") + dataset.items("validation")}["s001_L_CC"]
    np.testing.assert_array_equal(open_array(item["image"]), ramp(SHAPE))
    assert open_array(item["label"])[0].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert item["intensity_range"] == [0, 4095]
    assert left_behind(tmp_path) == []


def test_json_summary(tmp_path, pairs, capsys) -> None:
    code, text, _ = run(capsys, "folder", *pairs, tmp_path / "out", "--values", VALUES, "--json")
    summary = json.loads(text)
    assert code == 0
    assert (summary["images"], summary["subjects"], summary["training"], summary["validation"]) == (8, 4, 6, 2)
    assert summary["pixel_percent"] == dict.fromkeys(("background", "adipose", "gland", "pectoral muscle"), 25.0)
    assert any("--bits" in note for note in summary["notes"])  # 12 of 16 bits


def test_views_of_a_subject_stay_together_and_the_seed_decides(tmp_path, capsys) -> None:
    pairs = write_pairs(tmp_path / "in", subjects=12)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert run(capsys, "folder", *pairs, tmp_path / name, "--values", VALUES, "--seed", seed)[0] == 0
    datasets = [Dataset.load(tmp_path / name) for name in "abc"]
    for dataset in datasets:
        sides = [{item["subject"] for item in dataset.items(part)} for part in ("training", "validation")]
        assert not sides[0] & sides[1]
        assert [len(side) for side in sides] == [8, 4]
    assert (tmp_path / "a" / "dataset.json").read_bytes() != (tmp_path / "c" / "dataset.json").read_bytes()
    assert datasets[0].digest == datasets[1].digest
    assert datasets[0].split_digest != datasets[2].split_digest


def test_split_by_image_as_in_the_paper(tmp_path, pairs, capsys) -> None:
    run(capsys, "folder", *pairs, tmp_path / "out", "--values", VALUES, "--split_by", "image")
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert content["split"] == {"by": "image", "seed": 0, "validation_fraction": 0.3}
    assert [len(content[part]) for part in ("training", "validation")] == [6, 2]


def test_merged_and_ignored_values(tmp_path, pairs, capsys) -> None:
    values = "64=background,192=breast,128=breast"
    assert run(capsys, "folder", *pairs, tmp_path / "out", "--values", values, "--ignore", "255")[0] == 0
    dataset = Dataset.load(tmp_path / "out")
    assert dataset.class_names == ["background", "breast"]
    assert dataset.ignore_label == 255
    assert dataset.pixel_fraction == pytest.approx({"background": 1 / 3, "breast": 2 / 3})
    label = open_array(dataset.items("training")[0]["label"])
    assert label[0].tolist() == [0] * 4 + [1] * 8 + [255] * 4


def test_a_subject_pattern(tmp_path, pairs, capsys) -> None:
    options = ("--values", VALUES, "--json", "--subject")
    code, text, _ = run(capsys, "folder", *pairs, tmp_path / "out", *options, r"A_000[01]|A_000[23]")
    assert (code, json.loads(text)["subjects"]) == (0, 4)
    code, text, _ = run(capsys, "folder", *pairs, tmp_path / "two", *options, r"(LEFT|RIGHT)")
    assert (code, json.loads(text)["subjects"]) == (0, 2)
    code, _, errors = run(capsys, "folder", *pairs, tmp_path / "three", *options, "B_")
    assert code == 2
    assert "--subject 'B_' does not occur in" in errors
    _, _, errors = run(capsys, "folder", *pairs, tmp_path / "three", *options, "(")
    assert "--subject '(' is not a regular expression" in errors


def spoil_label(pairs: tuple[Path, Path], label: np.ndarray) -> None:
    Image.fromarray(label).save(pairs[1] / "A_0002_1.LEFT_CC_LI.png")


ERRORS = {
    "values missing": (
        (),
        [],
        r"--values is missing; the label images hold 64, 128, 192, 255; specify .*64=background",
    ),
    "value not named": (
        ("--values", "64=background,128=a,192=b"),
        [],
        r"LEFT_CC_LI\.png: holds the values 64, 128, 192, 255; allowed are 64, 128, 192; specify every value",
    ),
    "0/255 mask": (
        ("--values", "0=background,1=tumor"),
        [lambda pairs: [Image.fromarray(np.full(SHAPE, 255, np.uint8)).save(p) for p in pairs[1].iterdir()]],
        r"holds the values 255; allowed are 0, 1; this is a 0/255 mask: .*255=<name",
    ),
    "label of another size": (
        ("--values", VALUES),
        [lambda pairs: spoil_label(pairs, np.full((12, 8), 64, np.uint8))],
        r"A_0002_1\.LEFT_CC_LI\.png: is 12 x 8, its image 24 x 16 \(rows x columns\)",
    ),
    "no label": (
        ("--values", VALUES),
        [lambda pairs: (pairs[1] / "A_0003_1.RIGHT_MLO_LI.png").unlink()],
        r"A_0003_1\.RIGHT_MLO\.png: no label image; looked for A_0003_1\.RIGHT_MLO_LI\.\* in .*--unlabelled",
    ),
    "colour label": (
        ("--values", VALUES),
        [lambda pairs: spoil_label(pairs, np.dstack([np.full(SHAPE, v, np.uint8) for v in (1, 2, 3)]))],
        r"LEFT_CC_LI\.png: a color image",
    ),
    "one class": (("--values", "0=background"), [], "expected two or more classes, as in .*; found 1"),
    "not a number": (("--values", "a=background,b=c"), [], "'a' is not a gray value"),
    "no equals": (("--values", "64,128"), [], "'64' is not of the form left=right"),
    "value twice": (("--values", "64=a,64=b"), [], "'64' is repeated"),
    "value 256": (("--values", "64=a,256=b"), [], "label value 256 cannot occur"),
    "validation": (("--values", VALUES, "--validation", "1"), [], "--validation is 1; expected a share"),
    "split_by": (("--values", VALUES, "--split_by", "patient"), [], "expected subject or image"),
    "windowing": (("--values", VALUES, "--windowing", "x"), [], "expected one of none, voi, percentile"),
    "one subject": (
        ("--values", VALUES, "--subject", "A"),
        [],
        "only 1 subject with labels: .*--split_by image",
    ),
    "one subject without damage": (
        ("--values", VALUES, "--subject", "A_000([0-3])"),
        [lambda pairs: [path.write_bytes(b"") for n in (1, 2, 3) for path in pairs[0].glob(f"A_000{n}_*")]],
        r"only 1 subject with labels: .*--split_by image \(\d images were left out; the first: .*empty; copy it again",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_one_line_error_exit_code_2_and_nothing_left(tmp_path, pairs, capsys, case) -> None:
    options, spoils, reason = ERRORS[case]
    for spoil in spoils:
        spoil(pairs)
    code, out, errors = run(capsys, "folder", *pairs, tmp_path / "out", *options)
    assert (code, out) == (2, "")
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert left_behind(tmp_path) == []
    with pytest.raises(UserError, match=reason):
        raise UserError(errors)


def test_wrong_paths(tmp_path, pairs, capsys) -> None:
    images, labels = pairs
    _, _, errors = run(capsys, "folder", images.parent / "imgs", labels, tmp_path / "out", "--values", VALUES)
    assert "no such folder; looked in" in errors
    assert "beside it there is images ä#1/, labels ü/" in errors
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    _, _, errors = run(capsys, "folder", tmp_path / "empty", labels, tmp_path / "out", "--values", VALUES)
    assert "no images; looked in it and below it for DICOM files and *.png" in errors
    assert "found notes.txt" in errors


def test_usage_errors_and_help(capsys) -> None:
    assert run(capsys, "folder", "x")[0] == 2
    assert run(capsys, "folder", "x", "y", "z", "--vaules", "1")[0] == 2
    code, text, _ = run(capsys, "--help")
    assert code == 0
    assert "qupath" in text


def test_unlabelled_images_are_skipped_or_kept_as_test(tmp_path, pairs, capsys) -> None:
    (pairs[1] / "A_0003_1.RIGHT_MLO_LI.png").unlink()
    for choice, images, test in (("skip", 7, 0), ("keep", 8, 1)):
        code, text, _ = run(
            capsys, "folder", *pairs, tmp_path / choice, "--values", VALUES, "--unlabelled", choice, "--json"
        )
        summary = json.loads(text)
        assert (code, summary["images"], summary["test"]) == (0, images, test)
    assert Dataset.load(tmp_path / "keep").items("test")[0]["label"] is None


def test_a_label_beside_its_image_is_given_to_no_other_of_that_name(tmp_path, pairs, capsys) -> None:
    """As MONAI Label leaves them: proposals lie below the images, and corrected ones beside those."""
    images, labels = pairs
    final = shutil.copytree(labels, images / "labels" / "final")
    for path in [*final.iterdir()]:
        proposal = images / "labels" / "original" / path.name.replace("_LI", "")
        proposal.parent.mkdir(exist_ok=True)
        shutil.copy(path.rename(path.with_name(proposal.name)), proposal)
    words = ["--values", VALUES, "--bits", 12, "--unlabelled", "skip", "--json"]
    code, text, _ = run(capsys, "folder", images, final, tmp_path / "one", *words)
    assert (code, json.loads(text)["images"]) == (0, 8)


def test_one_label_is_not_given_to_two_images_nor_two_to_one(tmp_path, pairs, capsys) -> None:
    images, labels = pairs
    for folder in ("one", "other"):
        (images / folder).mkdir()
        shutil.copy(images / "A_0001_1.LEFT_CC.png", images / folder / "B.png")
    (labels / "A_0001_1.LEFT_CC_LI.png").rename(labels / "B_LI.png")
    words = ["--values", VALUES, "--bits", 12, "--unlabelled", "skip"]
    code, _, errors = run(capsys, "folder", images, labels, tmp_path / "out", *words)
    assert (code, "B_LI.png: would label two images" in errors) == (2, True)
    shutil.rmtree(images / "other")
    shutil.copy(labels / "B_LI.png", labels / "B_LI.tif")
    code, _, errors = run(capsys, "folder", images, labels, tmp_path / "out", *words)
    assert (code, "B_LI.png: B_LI.tif is a label image of the same name" in errors) == (2, True)


def test_unreadable_images_are_listed_and_left_out_unless_strict(tmp_path, pairs, capsys) -> None:
    bad = pairs[0] / "A_0001_1.LEFT_CC.png"
    bad.write_bytes(bad.read_bytes()[:50])
    code, text, errors = run(capsys, "folder", *pairs, tmp_path / "out", "--values", VALUES)
    assert code == 0
    assert "1 images that cannot be read" in text
    assert "left out: " in errors
    assert "A_0001_1.LEFT_CC.png" in errors.replace("\n", "")
    assert run(capsys, "folder", *pairs, tmp_path / "two", "--values", VALUES, "--strict")[0] == 2
    for path in pairs[0].iterdir():
        path.write_bytes(b"junk")
    code, _, errors = run(capsys, "folder", *pairs, tmp_path / "three", "--values", VALUES)
    assert code == 2
    assert "none of 8 images could be read; the first: " in errors


def test_existing_output_is_replaced_only_on_request_and_only_if_it_is_a_dataset(tmp_path, pairs, capsys) -> None:
    out = tmp_path / "out"
    call = partial(run, capsys, "folder", *pairs, out, "--values", VALUES)
    assert call()[0] == 0
    code, _, errors = call()
    assert code == 2
    assert "exists and is not empty; choose another folder, or specify --overwrite" in errors
    (out / "extra.txt").write_text("old")
    code, _, errors = call("--overwrite")
    assert code == 2
    assert "also holds extra.txt, which no import wrote" in errors
    (out / "extra.txt").unlink()
    (out / "images" / "extra.npy").touch()
    assert call("--overwrite")[0] == 0
    assert not (out / "images" / "extra.npy").exists()
    (out / "dataset.json").unlink()
    code, _, errors = call("--overwrite")
    assert code == 2
    assert "is not a dataset folder" in errors
    assert (out / "images").is_dir()
    assert left_behind(tmp_path) == []


def test_output_may_not_hold_its_sources(tmp_path, pairs, capsys) -> None:
    code, _, errors = run(capsys, "folder", *pairs, pairs[0].parent, "--values", VALUES, "--overwrite")
    assert code == 2
    assert "holds the source" in errors
    assert len(list(pairs[0].iterdir())) == 8


def test_nothing_that_identifies_is_in_any_output_byte(tmp_path, capsys) -> None:
    images, labels = tmp_path / "PLANTED-FOLDER", tmp_path / "labels"
    labels.mkdir()
    for number in range(3):
        name = f"PLANTED-FILE-{number}"
        write_dicom(images / f"{name}.dcm", ramp(SHAPE), PatientID=f"PLANTED-ID-{number}")
        Image.fromarray((np.arange(SHAPE[0] * SHAPE[1]) % 2).reshape(SHAPE).astype(np.uint8)).save(
            labels / f"{name}.png"
        )
    secret = tmp_path / "private.csv"
    code, text, errors = run(
        capsys, "folder", images, labels, tmp_path / "out", "--values", "0=a,1=b", "--private_map", secret, "--json"
    )
    assert code == 0
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) == 10
    for content in [text.encode(), errors.encode(), *(path.read_bytes() for path in files)]:
        assert not [planted for planted in (*PLANTED, "PLANTED") if planted.encode() in content]
    assert not [path for path in files if "PLANTED" in path.name]
    lines = secret.read_text().splitlines()
    assert lines[0] == "subject,case,source"
    assert lines[1].startswith("s001,s001,")
    assert "PLANTED-FILE-0" in lines[1]
    assert secret.stat().st_mode & 0o077 == 0
    inside = run(
        capsys,
        "folder",
        images,
        labels,
        tmp_path / "two",
        "--values",
        "0=a,1=b",
        "--private_map",
        tmp_path / "two" / "map.csv",
    )
    assert inside[0] == 2


def test_the_task_tumor_joins_all_other_values(tmp_path, pairs, capsys) -> None:
    values = "255=mass,64=background,128=fat,192=cancer"
    assert run(capsys, "folder", *pairs, tmp_path / "out", "--values", values, "--task", "tumor")[0] == 0
    dataset = Dataset.load(tmp_path / "out")
    assert dataset.class_names == ["non-tumor", "tumor"]
    assert open_array(dataset.items("training")[0]["label"])[0].tolist() == [0] * 8 + [1] * 8
    code, _, errors = run(capsys, "folder", *pairs, tmp_path / "two", "--values", VALUES, "--task", "tumor")
    assert code == 2
    assert "--task tumor: none of the classes background, adipose, gland, pectoral muscle is called tumor" in errors
