"""Cityscapes from the folders of its download, with the ids of the official scripts typed again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.cityscapes import CLASSES, import_cityscapes
from scripts.prepare import main
from transforms.dataset import Dataset
from transforms.errors import UserError

# id: train id, of every class that is not ignored
TRAIN_IDS = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15,
    31: 16, 32: 17, 33: 18,
}  # fmt: skip


def street(root: Path, split: str, city: str, number: int, ids: np.ndarray | None) -> np.ndarray:
    """Write one image and, unless `ids` is None, its label image; return the image."""
    shape = (6, 12) if ids is None else ids.shape
    image = np.random.default_rng(number).integers(0, 256, (*shape, 3), dtype=np.uint8)
    base = f"{city}_{number:06d}_000019"
    for kind, ending, pixels in (("leftImg8bit", "leftImg8bit", image), ("gtFine", "gtFine_labelIds", ids)):
        folder = root / kind / split / city
        folder.mkdir(parents=True, exist_ok=True)
        if pixels is not None:
            Image.fromarray(pixels).save(folder / f"{base}_{ending}.png")
    return image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    every = np.pad(np.arange(34, dtype=np.uint8), (0, 2)).reshape(3, 12)
    street(tmp_path / "cs", "train", "aachen", 0, every)
    street(tmp_path / "cs", "train", "aachen", 1, every[::-1].copy())
    street(tmp_path / "cs", "val", "munster", 0, every)
    street(tmp_path / "cs", "test", "bonn", 0, None)
    return tmp_path / "cs"


def test_34_ids_become_19_classes_and_void(root: Path, tmp_path: Path) -> None:
    import_cityscapes(root, tmp_path / "out", ImportOptions(progress=False))
    data = Dataset.load(tmp_path / "out")
    assert [len(data.items(s)) for s in ("training", "validation", "test")] == [2, 1, 1]
    assert data.num_classes == 19
    assert data.ignore_label == 255
    assert data.colour
    assert data.source_values == list(TRAIN_IDS)
    label = np.load(data.items("validation")[0]["label"])
    expected = np.array([TRAIN_IDS.get(i, 255) for i in range(34)] + [255, 255], np.uint8).reshape(3, 12)
    assert np.array_equal(label, expected)
    image = np.load(data.items("validation")[0]["image"])
    assert np.array_equal(
        image, np.asarray(Image.open(root / "leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png"))
    )
    data.check_labels(data.items("training") + data.items("validation"))


def test_the_classes_are_in_the_order_of_the_train_ids() -> None:
    assert dict(zip(CLASSES.values(), range(19), strict=True)) == TRAIN_IDS


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda r: next((r / "gtFine/val/munster").glob("*.png")).unlink(),
            "munster_000000_000019_gtFine_labelIds.png: missing",
        ),
        (
            lambda r: (r / "gtFine").rename(r / "gt"),
            "expected the folders leftImg8bit and gtFine in it, found gt, leftImg8bit",
        ),
        (lambda r: (r / "leftImg8bit").rename(r / "x") and (r / "leftImg8bit").mkdir(), "no train/<city>"),
    ],
    ids=["missing labels", "no gtFine", "no images"],
)
def test_what_is_missing_is_named(root: Path, tmp_path: Path, spoil, words: str) -> None:
    spoil(root)
    with pytest.raises(UserError, match=words):
        import_cityscapes(root, tmp_path / "out", ImportOptions(progress=False))
    assert not (tmp_path / "out").exists()


def test_an_id_that_does_not_exist_is_refused(root: Path, tmp_path: Path) -> None:
    street(root, "train", "aachen", 0, np.full((3, 12), 34, np.uint8))
    with pytest.raises(UserError, match=r"labelIds\.png: holds the values 34"):
        import_cityscapes(root, tmp_path / "out", ImportOptions(progress=False))


def test_from_the_command_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cityscapes", str(root), str(tmp_path / "out"), "--quiet"]) == 0
    assert "training 2, validation 1, test 1" in capsys.readouterr().out
