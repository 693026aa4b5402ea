"""Near duplicates across sections, views taken for women, and women found in two data sets."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_factory import make_dataset
from PIL import Image
from scipy.ndimage import gaussian_filter

from scripts.importers.import_options import ImportOptions
from scripts.importers.sources.folder import import_folder
from scripts.importers.writing.integrity import check_dataset
from scripts.importers.writing.near_copies import ALIKE, alike, descriptor
from scripts.importers.writing.one_word import one_word_apart
from scripts.importers.writing.subject_hash import read_key
from scripts.prepare import main
from transforms.errors import UserError


def breast(seed: int, size: tuple[int, int] = (240, 180)) -> np.ndarray:
    """Half an ellipse of clouds of its own, in air; uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    inside = ((rows / size[0] - 0.5) / 0.45) ** 2 + (columns / size[1] / 0.85) ** 2 < 1
    clouds = gaussian_filter(rng.normal(0, 1, size), 6)
    return np.where(inside, 110 + 60 * clouds / np.abs(clouds).max() + 40 * columns / size[1], 2).astype(np.uint8)


def jpeg(image: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream))


def half(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).reduce(2))


def window(image: np.ndarray) -> np.ndarray:
    return (np.clip((image.astype(float) - 20) / 200, 0, 1) ** 0.7 * 4095).astype(np.uint16)


def mirror(image: np.ndarray) -> np.ndarray:
    return image[:, ::-1]


def more_air(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((30, 10), (0, 50)), constant_values=2)


def cut(image: np.ndarray) -> np.ndarray:
    return image[4:-4, :-4]


@pytest.mark.parametrize("change", [jpeg, half, window, mirror, more_air, cut])
def test_copies_that_differ_in_every_pixel_are_found(change: Any) -> None:
    first, second = (descriptor(image) for image in (breast(0), np.ascontiguousarray(change(breast(0)))))
    assert first is not None
    assert second is not None
    assert [(a, b) for a, b, _ in alike([first], [second])] == [(0, 0)]


def test_other_women_are_not_copies() -> None:
    looks = [look for look in (descriptor(breast(seed)) for seed in range(12)) if look is not None]
    assert len(looks) == 12
    assert [(a, b) for a, b, _ in alike(looks, looks)] == [(n, n) for n in range(12)]
    correlations = np.stack(looks) @ np.stack(looks).T - np.eye(12)
    assert correlations.max() < ALIKE - 0.2
    assert descriptor(np.zeros((50, 40), np.uint8)) is None
    assert descriptor(np.zeros((4, 40), np.uint8)) is None
    assert alike([], looks) == []


def test_check_names_the_pair(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for number in range(6):
        image = breast(number if number < 5 else 0)
        Image.fromarray(jpeg(image) if number == 5 else image).save(images / f"W{number}.png")
        Image.fromarray((image > 150).astype(np.uint8)).save(labels / f"W{number}.png")
    split = tmp_path / "split.csv"
    split.write_text("subject,section\n" + "".join(f"W{n},{'validation' if n > 3 else 'training'}\n" for n in range(6)))
    import_folder(
        images, labels, tmp_path / "out", ImportOptions(split=str(split), progress=False), values={0: "a", 1: "b"}
    )
    (said,) = [line for line in check_dataset(tmp_path / "out", progress=False).warnings if "nearly the same" in line]
    assert said.startswith(
        "1 pairs of images in different sections are nearly the same, such as s001 (training) and s006 ("
    )


def test_a_word_that_recurs_is_told() -> None:
    women = [f"path:P{number}_{kind}" for number in range(4) for kind in ("DM", "CM")]
    assert str(one_word_apart(women)).startswith(
        "4 times, subjects differ only in the word CM or DM of their files' names"
    )
    assert one_word_apart([name.replace("path:", "id:") for name in women]) is None  # PatientIDs
    assert one_word_apart(["path:P1_DM", "path:P1_CM", "path:P2_DM"]) is None  # once may be chance
    assert one_word_apart([f"path:woman {n} a" for n in range(9)]) is None
    assert one_word_apart(["path:eva_wood", "path:anna_wood", "path:eva_hill", "path:anna_smith"]) is None


def test_an_import_tells_it(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for number in range(3):
        for kind in ("DM", "CM"):
            Image.fromarray(np.full((12, 10), 40 + number, np.uint8)).save(images / f"P{number}_L_{kind}_MLO.png")
            Image.fromarray(np.eye(12, 10, dtype=np.uint8)).save(labels / f"P{number}_L_{kind}_MLO.png")
    options = ImportOptions(progress=False)
    summary = import_folder(images, labels, tmp_path / "out", options, values={0: "a", 1: "b"})
    assert summary.subjects == 6
    assert any("in the word CM or DM" in note for note in summary.notes)
    options = ImportOptions(progress=False, subject="(P[0-9]+)_")
    assert import_folder(images, labels, tmp_path / "two", options, values={0: "a", 1: "b"}).subjects == 3


# -- women of two data sets --------------------------------------------------------------------------------------------


def test_subjects_of_two_data_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, other_key = tmp_path / "key", tmp_path / "other"
    key.write_bytes(b"0123456789abcdef0123")
    other_key.write_bytes(b"another key of 20 by")
    made = {}
    for name, women, used in (("a", range(4), key), ("b", range(2, 6), key), ("c", range(4), other_key)):
        images, labels = tmp_path / f"{name} images", tmp_path / f"{name} labels"
        images.mkdir()
        labels.mkdir()
        for woman in women:
            file = f"W{woman}.png" if name != "b" else f"w{woman}.png"
            Image.fromarray(np.full((12, 10), 40 + woman, np.uint8)).save(images / file)
            Image.fromarray(np.eye(12, 10, dtype=np.uint8)).save(labels / file)
        options = ImportOptions(progress=False, subject_key=str(used))
        import_folder(images, labels, tmp_path / name, options, values={0: "a", 1: "b"})
        text = (tmp_path / name / "dataset.json").read_text()
        assert "0123456789abcdef" not in text
        content = json.loads(text)
        made[name] = {item["subject_hash"] for section in ("training", "validation") for item in content[section]}
    assert len(made["a"] & made["b"]) == 2
    assert not made["a"] & made["c"]
    main(["check", str(tmp_path / "a"), "--with", str(tmp_path / "b"), "--json", "--quiet"])
    said = json.loads(capsys.readouterr().out)["warnings"]
    assert sum(int(line.split()[0]) for line in said if " of b" in line) == 2
    main(["check", str(tmp_path / "a"), "--with", str(make_dataset(tmp_path / "tiny")), "--quiet"])
    assert "has no subject hashes; prepare both data sets with the same --subject_key" in capsys.readouterr().err


def test_keys_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"secret\n")
    with pytest.raises(UserError, match="6 bytes; expected 16 random ones"):
        read_key(tmp_path / "short", tmp_path / "out")
    with pytest.raises(UserError, match="cannot be read"):
        read_key(tmp_path / "none", tmp_path / "out")
    with pytest.raises(UserError, match="must not be in the dataset folder"):
        read_key(tmp_path / "out" / "key", tmp_path / "out")
