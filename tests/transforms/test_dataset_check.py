"""The checker of data sets: refusals before the first step."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from transforms.dataset import Dataset, open_array
from transforms.dataset_check import check_dataset_for_training
from transforms.errors import UserError
from transforms.normalize import NormalizeRanged
from transforms.reading.mammogram import read_mammogram
from transforms.row_counts import counts_file, kept_row_counts
from transforms.strict_json import read_json


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    change(content)
    (folder / "dataset.json").write_text(json.dumps(content))


def test_a_good_one_passes(tiny_dataset: Path) -> None:
    assert check_dataset_for_training(Dataset.load(tiny_dataset)) == []


def test_a_subject_in_two_sections(tiny_dataset: Path) -> None:
    edit(tiny_dataset, lambda c: c["validation"][0].update(subject="s000"))
    with pytest.raises(UserError, match=r"1 subjects are in two sections, such as s000: scores will be too good"):
        check_dataset_for_training(Dataset.load(tiny_dataset))
    edit(tiny_dataset, lambda c: c["split"].update(by="image"))
    (warning,) = check_dataset_for_training(Dataset.load(tiny_dataset))
    assert "1 subjects are in two sections" in warning


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.bool_, np.complex64, np.int16, np.uint32])
def test_images_of_other_types(tiny_dataset: Path, kind: Any) -> None:
    path = tiny_dataset / "images" / "s002_L_CC.npy"
    np.save(path, np.load(path).astype(kind))
    with pytest.raises(UserError, match=rf"s002_L_CC\.npy: holds {np.dtype(kind)}; expected uint8 or uint16"):
        check_dataset_for_training(Dataset.load(tiny_dataset))


def test_labels_of_background_alone_are_no_matter_of_the_learning_rate(tiny_dataset: Path) -> None:
    for path in (tiny_dataset / "labels").glob("*.npy"):
        np.save(path, np.zeros_like(np.load(path)))
    with pytest.raises(UserError, match="all training labels hold only background: there is nothing to learn"):
        check_dataset_for_training(Dataset.load(tiny_dataset))


@pytest.mark.parametrize("image", [torch.tensor([[[0.0, 4096.0]]]), torch.tensor([[[-1.0, 5.0]]])], ids=["high", "low"])
def test_values_outside_the_range_are_found_when_an_image_is_read(image: torch.Tensor) -> None:
    item = {"image": image, "intensity_range": [0, 4095], "case": "s1_L_CC"}
    with pytest.raises(UserError, match=r"^s1_L_CC: holds values from .* outside its intensity_range \[0, 4095\]"):
        NormalizeRanged("image")(item)
    with pytest.raises(UserError, match="values from nan"):
        NormalizeRanged("image")({**item, "image": torch.tensor([[[float("nan")]]])})


def test_the_rounding_of_a_resized_image_is_no_fault() -> None:
    item = {"image": torch.tensor([[[0.0, 4095.002]]]), "intensity_range": [0, 4095]}
    assert NormalizeRanged("image")(item)["image"].max() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a": NaN}', "holds NaN"),
        ('{"a": -Infinity}', "holds -Infinity"),
        ('{"a": 1e400}', "holds the number 1e400"),
        ('{"a": 1' + "0" * 400 + "}", "which is too large"),
        ('{"a": "x\\u0000y"}', "holds a NUL character"),
        ('{"a": "x\0y"}', "holds a NUL character"),
        ("{", "Expecting"),
    ],
    ids=["deep", "NaN", "infinity", "large", "long", "escaped NUL", "NUL", "cut"],
)
def test_json_that_no_other_program_would_read(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        read_json(tmp_path / "dataset.json")
    with pytest.raises(UserError, match=r"dataset\.json: not readable JSON") as raised:
        Dataset.load(tmp_path)
    assert len(str(raised.value)) < 400


def test_ordinary_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('\ufeff{"a": [1, -2, 2.5, 1e300, "ü", null, true]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": [1, -2, 2.5, 1e300, "ü", None, True]}


def test_a_header_that_is_no_python_is_one_line(tiny_dataset: Path) -> None:
    """NumPy looks for the parts of a header as a Python program has them, and raises what Python raises."""
    path = tiny_dataset / "images" / "s000_L_CC.npy"
    for text in (b"{'descr': (\n(", b'"""', b"(" * 200, b"\0"):
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
        for read in (open_array, read_mammogram):
            with pytest.raises(UserError, match=r"s000_L_CC\.npy: not a"):
                read(path)
        kept = counts_file(path)
        kept.parent.mkdir(exist_ok=True)
        kept.write_bytes(path.read_bytes())
        assert kept_row_counts(path, np.zeros((8, 8), np.uint8), 2) is None


def test_arrays_without_pixels_and_archives_of_arrays_are_one_line(tiny_dataset: Path) -> None:
    path = tiny_dataset / "images" / "s000_L_CC.npy"
    np.save(path, np.zeros((0, 10**9), np.uint16))
    with pytest.raises(UserError, match=r"s000_L_CC\.npy: has shape \(0, 1000000000\)"):
        open_array(path)
    np.savez(path.with_suffix(".npz"), np.zeros((40, 32), np.uint16))
    path.with_suffix(".npz").replace(path)
    for read, words in ((open_array, "an archive of arrays"), (read_mammogram, "not a readable image")):
        with pytest.raises(UserError, match=words):
            read(path)
    kept = counts_file(path)
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(path.read_bytes())
    assert kept_row_counts(path, np.zeros((8, 8), np.uint8), 2) is None


def test_a_name_that_no_file_can_have_is_one_line(tiny_dataset: Path, tmp_path: Path) -> None:
    name = "[" * 100_000
    with pytest.raises(UserError, match=r"no such file"):
        read_mammogram(tmp_path / name)
    edit(tiny_dataset, lambda c: c["training"][0].update(image=f"images/{name}.npy"))
    with pytest.raises(UserError, match=r"missing, though"):
        Dataset.load(tiny_dataset)


def test_files_that_may_not_be_read_are_not_called_missing_or_damaged(
    tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a folder belongs to another user. (Permissions themselves do not bind the administrator.)"""
    asked, listed = os.stat, os.scandir

    def refusing(usual: Any, denied: Path) -> Any:
        def ask(path: Any, *args: Any, **options: Any) -> Any:
            if isinstance(path, (str, os.PathLike)) and Path(path).is_relative_to(denied):
                raise PermissionError(13, "Permission denied", str(path))
            return usual(path, *args, **options)

        return ask

    for denied in (tiny_dataset, tiny_dataset / "labels"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", refusing(asked, denied))
            patch.setattr(os, "scandir", refusing(listed, denied))
            with pytest.raises(UserError, match=r"cannot be read \(Permission denied\); check the disk"):
                Dataset.load(tiny_dataset)
    for read in (Dataset.load, lambda folder: open_array(folder / "images" / "s000_L_CC.npy")):
        with monkeypatch.context() as patch:
            patch.setattr("builtins.open", refusing(open, tiny_dataset))
            patch.setattr("io.open", refusing(open, tiny_dataset))
            with pytest.raises(UserError, match=r"cannot be read \(Permission denied\); check the disk"):
                read(tiny_dataset)
