"""CSAW-S: the files as they are published, with their defects, become the label maps worked out by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.csaw_s import VALIDATION, import_csaw_s
from scripts.importers.sources.csaw_s_files import CLASSES
from scripts.prepare import main
from transforms.dataset import Dataset, open_array
from transforms.errors import UserError

SHAPE = (12, 9)
# Typed from csaws_creation/settings.py of the authors: the first wins
AUTHORS = (
    "cancer",
    "calcifications",
    "axillary_lymph_nodes",
    "thick_vessels",
    "foreign_object",
    "skin",
    "nipple",
    "text",
    "non-mammary_tissue",
    "pectoral_muscle",
    "mammary_gland",
)
ID = {name: label for label, name in enumerate(CLASSES)}


def picture(number: int) -> np.ndarray:
    return (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) + number).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def rows(*numbers: int, value: int = 255) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[list(numbers)] = value
    return mask


def write_scan(folder: Path, name: str, number: int = 0, **masks: np.ndarray) -> Path:
    """One image and one mask for each class; classes that are not given get an empty mask, as published."""
    folder = folder / name[:3]
    save(folder / f"{name}.png", picture(number))
    write_masks(folder, name, **masks)
    return folder


def write_masks(folder: Path, name: str, **masks: np.ndarray) -> None:
    for word in AUTHORS:
        mask = masks.get(word.replace("-", "_"), np.zeros(SHAPE, np.uint8))
        save(folder / f"{name}_{word}.png", mask)


def write_root(root: Path) -> Path:
    """Two training and two validation patients; 002 has images of one and of two digits."""
    train = root / "anonymized_dataset"
    write_scan(train, "002_0", 1, cancer=rows(2), mammary_gland=rows(*range(1, 8)))
    write_scan(train, "002_10", 2, skin=rows(0, value=1), text=rows(0, 1, value=1))
    write_scan(train, "003_1", 3, pectoral_muscle=rows(5, 6), mammary_gland=rows(6, 7))
    write_scan(train, "000_0", 4, cancer=rows(4))
    write_scan(train, "001_0", 5, nipple=rows(4))
    return root


def by_pixels(out: Path, section: str) -> dict[int, tuple[dict, np.ndarray | None]]:
    """Items and label maps of a section by the number that the picture was made with."""
    result = {}
    for item in Dataset.load(out).items(section):
        label = None if item["label"] is None else np.array(open_array(item["label"]))
        result[int(open_array(item["image"])[0, 0])] = (item, label)
    return result


def test_classes_are_the_authors_from_the_last_to_the_first() -> None:
    assert [name.replace(" ", "_") for name in reversed(CLASSES[1:])] == list(AUTHORS)
    assert len(VALIDATION) == 20


def test_the_training_images(tmp_path) -> None:
    summary = import_csaw_s(write_root(tmp_path / "skin-study text cancer" / "CsawS"), tmp_path / "out")
    assert summary.sections == {"training": 3, "validation": 2, "test": 0}
    assert summary.subjects == 4
    assert summary.rejected == []
    training, validation = (by_pixels(tmp_path / "out", part) for part in ("training", "validation"))
    assert sorted(training) == [1, 2, 3]
    assert sorted(validation) == [4, 5]  # 000 and 001 are among the authors' 20
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:8] = ID["mammary gland"]
    expected[2] = ID["cancer"]
    np.testing.assert_array_equal(training[1][1], expected)
    expected = np.zeros(SHAPE, np.uint8)
    expected[0], expected[1] = ID["skin"], ID["text"]
    np.testing.assert_array_equal(training[2][1], expected)
    expected = np.zeros(SHAPE, np.uint8)
    expected[5:7], expected[7] = ID["pectoral muscle"], ID["mammary gland"]
    np.testing.assert_array_equal(training[3][1], expected)
    assert training[1][0]["subject"] == training[2][0]["subject"] != training[3][0]["subject"]
    np.testing.assert_array_equal(open_array(training[2][0]["image"]), picture(2))
    content = json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
    assert content["licence"].startswith("CC BY-NC-ND 4.0")
    assert list(content["labels"].values()) == list(CLASSES)
    assert summary.overlaps == {
        "cancer over mammary gland": 9,
        "skin over text": 9,
        "pectoral muscle over mammary gland": 9,
    }


def test_any_of_the_folders_can_be_named(tmp_path) -> None:
    root = write_root(tmp_path / "CsawS")
    for number, path in enumerate((tmp_path, root / "anonymized_dataset")):
        assert import_csaw_s(path, tmp_path / f"out{number}").images == 5
    with pytest.raises(UserError, match=r"not the CSAW-S folder; looked for anonymized_dataset in it, found nothing"):
        import_csaw_s(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty" / "anonymized_dataset").mkdir(parents=True)
    with pytest.raises(UserError, match=r"anonymized_dataset: no images; looked .* for PPP_n\.png"):
        import_csaw_s(tmp_path / "empty", tmp_path / "out")


def test_precedence_merging_and_the_task(tmp_path) -> None:
    root = write_root(tmp_path / "CsawS")
    import_csaw_s(root, tmp_path / "a", precedence=["Mammary_gland"], merge={"skin": "background"})
    names = Dataset.load(tmp_path / "a").class_names
    assert "skin" not in names
    training = by_pixels(tmp_path / "a", "training")
    assert (training[1][1] == names.index("mammary gland")).sum() == 7 * 9
    assert (training[2][1][:2] == names.index("text")).all()  # skin has now the precedence of background
    import_csaw_s(root, tmp_path / "b", task="tumor", precedence=["mammary gland"])
    assert Dataset.load(tmp_path / "b").class_names == ["non-tumor", "tumor"]
    np.testing.assert_array_equal(by_pixels(tmp_path / "b", "training")[1][1], rows(2, value=1))
    with pytest.raises(UserError, match="--merge: skn is not among the classes"):
        import_csaw_s(root, tmp_path / "c", merge={"skn": "background"})


def test_defects_of_the_files(tmp_path) -> None:
    """A mask of another size, missing masks, the underscore spelling, `_unclassified`, and files of other kinds."""
    root = write_root(tmp_path / "CsawS")
    folder = root / "anonymized_dataset" / "002"
    save(folder / "002_0_cancer.png", np.full((9, 12), 255, np.uint8))
    (folder / "002_0_text.png").unlink()
    (folder / "002_10_text.png").unlink()
    (folder / "002_0_non-mammary_tissue.png").unlink()
    save(folder / "002_0_non_mammary_tissue.png", rows(11, value=7))
    save(folder / "002_0_unclassified.png", rows(*range(12)))
    save(folder / "002_0_annotations.png", rows(*range(12)))
    save(folder / "preview.png", rows(1))
    save(folder / "002_7_cancer.png", rows(1))
    (folder / "._002_0.png").write_bytes(b"resource fork")
    (folder / "Thumbs.db").write_bytes(b"no image")
    summary = import_csaw_s(root, tmp_path / "out")
    assert summary.images == 5
    expected = np.zeros(SHAPE, np.uint8)
    expected[1:8], expected[11] = ID["mammary gland"], ID["non-mammary tissue"]
    np.testing.assert_array_equal(by_pixels(tmp_path / "out", "training")[1][1], expected)
    notes = "\n".join(summary.notes)
    assert (
        "1 masks are of another size than their image and were left out (rows x columns): "
        "002/002_0_cancer.png is 9 x 12, its image 12 x 9" in notes
    )
    assert "missing masks, read as 'not in the image', of 5 sets: text 2" in notes
    assert "1 PNG files are of no known class" in notes
    assert "1 PNG files have no CSAW-S name" in notes
    assert "1 scans have masks, but no image" in notes


def test_an_image_in_colour_is_read_from_its_8_bit_copy(tmp_path) -> None:
    root = write_root(tmp_path / "CsawS")
    folder = root / "anonymized_dataset" / "002"
    colour = np.zeros((*SHAPE, 3), np.uint8)
    colour[..., 0] = 9
    save(folder / "002_0.png", colour)
    save(folder / "002_0_8bit.png", picture(1))
    save(folder / "002_10_8bit.png", picture(99))  # its image is gray, so this one is not needed
    grey = np.repeat(picture(3)[..., None], 3, axis=2)
    save(root / "anonymized_dataset" / "003" / "003_1.png", grey)  # stored in color, without a copy, but gray
    summary = import_csaw_s(root, tmp_path / "out")
    assert summary.rejected == []
    assert sorted(by_pixels(tmp_path / "out", "training")) == [1, 2, 3]
    (folder / "002_0_8bit.png").unlink()
    summary = import_csaw_s(root, tmp_path / "two")
    assert [path.name for path, _ in summary.rejected] == ["002_0.png"]
    assert "color image" in summary.rejected[0][1]


def test_an_image_without_any_mask_is_left_out_and_a_damaged_mask_is_an_error(tmp_path) -> None:
    root = write_root(tmp_path / "CsawS")
    save(root / "anonymized_dataset" / "004" / "004_0.png", picture(8))
    summary = import_csaw_s(root, tmp_path / "out")
    assert [path.name for path, _ in summary.rejected] == ["004_0.png"]
    assert "no mask of any class beside it" in summary.rejected[0][1]
    (root / "anonymized_dataset" / "002" / "002_0_skin.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(UserError, match=r"002_0_skin\.png: not a readable image"):
        import_csaw_s(root, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    save(root / "copy" / "x.png", picture(0))
    save(root / "anonymized_dataset" / "copy" / "002_10.png", picture(0))
    with pytest.raises(UserError, match=r"002_10\.png: .* is the same image; remove one"):
        import_csaw_s(root, tmp_path / "two")


def test_the_split(tmp_path) -> None:
    root = write_root(tmp_path / "CsawS")
    drawn = import_csaw_s(root, tmp_path / "a", split="drawn")
    assert drawn.sections["validation"] in (1, 2)
    assert import_csaw_s(root, tmp_path / "b", ImportOptions(seed=3)).sections["training"] in (3, 4)
    by_image = import_csaw_s(root, tmp_path / "c", ImportOptions(split_by="image"))
    assert by_image.sections == {"training": 3, "validation": 2, "test": 0}
    assert not any("suggest" in note for note in by_image.notes)
    with pytest.raises(UserError, match="--split suggested cannot be combined with --validation"):
        import_csaw_s(root, tmp_path / "d", ImportOptions(seed=1), split="suggested")
    with pytest.raises(UserError, match="--split is 'x'; expected suggested or drawn"):
        import_csaw_s(root, tmp_path / "d", split="x")
    for patient in ("000", "001"):
        for path in (root / "anonymized_dataset" / patient).iterdir():
            path.unlink()
    with pytest.raises(UserError, match=r"none of the patients of the suggested validation split .* --split drawn"):
        import_csaw_s(root, tmp_path / "d")


def write_test_data(root: Path) -> Path:
    """Test patient 002, of the same number as a training patient; its three experts see 3, 2 and 1 rows of cancer."""
    test = root / "test_data"
    save(test / "anonymized_dataset" / "002" / "002_0.png", picture(20))
    save(test / "anonymized_dataset" / "005" / "005_0.png", picture(21))
    annotations = (
        {"cancer": rows(3, 4, 5), "skin": rows(0), "mammary_gland": rows(*range(2, 9))},
        {"cancer": rows(4, 5), "text": rows(0), "mammary_gland": rows(*range(2, 8))},
        {"cancer": rows(5), "nipple": rows(0), "mammary_gland": rows(*range(2, 7))},
    )
    for expert, masks in enumerate(annotations, start=1):
        write_masks(test / f"annotator_{expert}" / "002", "002_0", **masks)
    write_masks(test / "annotator_3" / "005", "005_0", cancer=rows(1))
    return root


def test_an_expert_whose_folder_is_not_there_is_named(tmp_path) -> None:
    root = write_test_data(write_root(tmp_path / "CsawS"))
    shutil.rmtree(root / "test_data" / "annotator_1")
    summary = import_csaw_s(root, tmp_path / "out")
    assert summary.sections["test"] == 1  # two of the experts remain
    assert "1 expert's masks are not there: no folder test_data/annotator_1" in summary.notes
    shutil.rmtree(root / "test_data" / "annotator_2")
    summary = import_csaw_s(root, tmp_path / "without")
    assert summary.sections["test"] == 0
    assert "2 test images have too few masks for --annotator, and were left out" in summary.notes


def test_test_images_by_majority(tmp_path) -> None:
    summary = import_csaw_s(write_test_data(write_root(tmp_path / "CsawS")), tmp_path / "out")
    assert summary.sections == {"training": 3, "validation": 2, "test": 1}
    assert summary.subjects == 5  # test patient 002 is not training patient 002
    test = by_pixels(tmp_path / "out", "test")
    expected = np.zeros(SHAPE, np.uint8)
    expected[2:8] = ID["mammary gland"]  # row 7: two of three
    expected[4:6] = ID["cancer"]  # row 3: one of three, and gland by two; row 4: two of three
    np.testing.assert_array_equal(test[20][1], expected)
    assert 21 not in test  # one expert only
    notes = "\n".join(summary.notes)
    assert "9 test pixels are of a different class for each expert, and became background" in notes  # row 0
    assert "1 test images have too few masks for --annotator, and were left out" in notes
    subjects = {item["subject"] for item, _ in test.values()}
    assert subjects.isdisjoint(item["subject"] for item, _ in by_pixels(tmp_path / "out", "training").values())


def test_test_images_of_one_expert_and_how_far_experts_agree(tmp_path) -> None:
    root = write_test_data(write_root(tmp_path / "CsawS"))
    summary = import_csaw_s(root, tmp_path / "out", annotator="3", task="tumor")
    test = by_pixels(tmp_path / "out", "test")
    np.testing.assert_array_equal(test[20][1], rows(5, value=1))
    np.testing.assert_array_equal(test[21][1], rows(1, value=1))
    notes = [note for note in summary.notes if note.startswith("IoU of annotators")]
    # rows 3-5, 4-5 and 5 of 12: cancer 2/3, 1/3, 1/2; the rest 9/10, 9/11, 10/11
    assert notes == [
        "IoU of annotators 1 and 2: non-tumor 90.0 %, tumor 66.7 %; mean 78.3 %",
        "IoU of annotators 1 and 3: non-tumor 81.8 %, tumor 33.3 %; mean 57.6 %",
        "IoU of annotators 2 and 3: non-tumor 90.9 %, tumor 50.0 %; mean 70.5 %",
    ]
    first = import_csaw_s(root, tmp_path / "two", annotator="1")
    assert (by_pixels(tmp_path / "two", "test")[20][1] == ID["cancer"]).sum() == 3 * 9
    assert first.overlaps["cancer over mammary gland"] == (1 + 3) * 9  # training 002_0, and expert 1 alone
    with pytest.raises(UserError, match="--annotator is '4'; expected 1, 2, 3 or majority"):
        import_csaw_s(root, tmp_path / "three", annotator="4")


def test_smoothing_leaves_the_small_structures(tmp_path) -> None:
    root = write_root(tmp_path / "CsawS")
    spike = rows(*range(6))
    spike[6:10, 4] = 255
    folder = root / "anonymized_dataset" / "003"
    for word in ("calcifications", "pectoral_muscle"):
        save(folder / f"003_1_{word}.png", spike)
    import_csaw_s(root, tmp_path / "out", smooth=2.0)
    label = by_pixels(tmp_path / "out", "training")[3][1]
    np.testing.assert_array_equal(label == ID["calcifications"], spike > 0)
    save(folder / "003_1_calcifications.png", rows())
    import_csaw_s(root, tmp_path / "two", smooth=2.0)
    label = by_pixels(tmp_path / "two", "training")[3][1]
    assert (label[:6] == ID["pectoral muscle"]).all()
    assert (label[8:] != ID["pectoral muscle"]).all()


def test_no_name_of_a_file_or_folder_reaches_the_output(tmp_path) -> None:
    root = write_test_data(write_root(tmp_path / "Planted Name" / "CsawS"))
    folder = root / "anonymized_dataset" / "Planted Person"
    write_scan(folder, "007_0", 6, cancer=rows(2))
    import_csaw_s(root, tmp_path / "out")
    for path in (tmp_path / "out").rglob("*"):
        assert "lanted" not in path.name
        if path.is_file():
            content = path.read_bytes()
            assert b"lanted" not in content
            assert b"007_0" not in content


def test_the_command_in_two_processes_writes_the_same(tmp_path, capsys) -> None:
    root = write_test_data(write_root(tmp_path / "CsawS"))
    (root / "anonymized_dataset" / "002" / "002_0_text.png").unlink()
    summaries = []
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        options = ["--workers", str(workers), "--name", "csaw", "--json", "--merge", "skin=background"]
        assert main(["csaw-s", str(root), str(out), "--precedence", "text", *options]) == 0
        summaries.append({**json.loads(capsys.readouterr().out), "out": ""})
    assert summaries[0] == summaries[1]
    assert sum(note.startswith("IoU of annotators") for note in summaries[0]["notes"]) == 3
    one, two = (tmp_path / "out1" / "dataset.json", tmp_path / "out2" / "dataset.json")
    assert one.read_bytes() == two.read_bytes()


def test_a_dry_run_writes_nothing_and_splits_alike(tmp_path, capsys) -> None:
    root = write_test_data(write_root(tmp_path / "CsawS"))
    assert main(["csaw-s", str(root), str(tmp_path / "out"), "--dry_run"]) == 0
    assert "training 3, validation 2, test 1" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert main(["csaw-s", str(tmp_path), str(tmp_path / "out"), "--annotator", "x"]) == 2
    assert "error: --annotator is 'x'; expected 1, 2, 3 or majority" in capsys.readouterr().err
