"""A resumed training has the data of the interrupted one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import transforms.known_files as module
from engines.records.data_record import DataGuard, in_parts
from transforms.dataset import Dataset
from transforms.errors import UserError


def begun(folder: Path, models: Path) -> str:
    guard = DataGuard(Dataset.load(folder), models)
    guard.begin()
    guard.write()
    assert guard.digest is not None
    return guard.digest


def edit_json(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    change(content)
    (folder / "dataset.json").write_text(json.dumps(content))


def edit_array(path: Path, keep_time: bool = False) -> None:
    facts = path.stat()
    array = np.load(path)
    array[0, 0] = 1 - array[0, 0] if array.dtype == np.uint8 else array[0, 0] ^ 1
    np.save(path, array)
    if keep_time:
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def swap_labels(folder: Path) -> None:
    first, second = (folder / "labels" / f"s00{n}_L_CC.npy" for n in (0, 1))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def test_the_same_data_pass_and_files_are_not_read_again(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = begun(tiny_dataset, tmp_path)

    def never(*_: Any) -> None:
        raise AssertionError("a file was read again")

    touched = tiny_dataset / "images" / "s000_L_CC.npy"
    os.utime(touched)  # another time, the same content
    with monkeypatch.context() as patch:
        patch.setattr(module, "array_sha256", never)
        with pytest.raises(AssertionError, match="read again"):
            DataGuard(Dataset.load(tiny_dataset), tmp_path).resume(digest)
    guard = DataGuard(Dataset.load(tiny_dataset), tmp_path)
    guard.resume(digest)
    guard.write()
    monkeypatch.setattr(module, "array_sha256", never)
    DataGuard(Dataset.load(tiny_dataset), tmp_path).resume(digest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: edit_array(d / "labels" / "s000_L_CC.npy"), r"labels/s000_L_CC\.npy: other content"),
        (lambda d: edit_array(d / "images" / "s005_L_CC.npy"), r"images/s005_L_CC\.npy: other content"),
        (swap_labels, r"labels/s000_L_CC\.npy: other content; labels/s001_L_CC\.npy: other content"),
        (
            lambda d: edit_json(d, lambda c: c["training"][0].update(intensity_range=[0, 8191])),
            r"intensity_range of images/s000_L_CC\.npy: \[0, 4095\] → \[0, 8191\]",
        ),
        (
            lambda d: edit_json(d, lambda c: c["pixel_fraction"].update(tumor=0.5)),
            r"pixel_fraction of tumor: 0\.\d+ → 0\.5",
        ),
        (
            lambda d: edit_json(d, lambda c: c["training"][0].update(label=c["training"][1]["label"])),
            r"label of images/s000_L_CC\.npy: labels/s000_L_CC\.npy → labels/s001_L_CC\.npy",
        ),
        (lambda d: edit_json(d, lambda c: c["training"].pop()), r"images/s003_L_CC\.npy: missing now"),
        (lambda d: edit_json(d, lambda c: c.update(ignore_label=9)), r"ignore_label: None → 9"),
    ],
    ids=["label", "image", "swapped", "range", "fraction", "other label", "fewer", "void"],
)
def test_a_change_is_refused_and_named(tiny_dataset: Path, tmp_path: Path, change: Any, words: str) -> None:
    digest = begun(tiny_dataset, tmp_path)
    change(tiny_dataset)
    with pytest.raises(UserError, match=words) as raised:
        DataGuard(Dataset.load(tiny_dataset), tmp_path).resume(digest)
    assert "\n" not in str(raised.value)


def test_only_verify_finds_an_edit_that_keeps_size_and_time(tiny_dataset: Path, tmp_path: Path) -> None:
    digest = begun(tiny_dataset, tmp_path)
    edit_array(tiny_dataset / "labels" / "s000_L_CC.npy", keep_time=True)
    DataGuard(Dataset.load(tiny_dataset), tmp_path).resume(digest)
    with pytest.raises(UserError, match="other content"):
        DataGuard(Dataset.load(tiny_dataset), tmp_path, verify=True).resume(digest)


@pytest.mark.parametrize("content", [None, "{", "[" * 100_000, "{}", '{"files": {"a": 1}, "images": {}}'], ids=range(5))
def test_a_record_that_is_gone_or_damaged_costs_a_reading(
    tiny_dataset: Path, tmp_path: Path, content: str | None
) -> None:
    digest = begun(tiny_dataset, tmp_path)
    record = tmp_path / "data.json"
    record.unlink() if content is None else record.write_text(content)
    DataGuard(Dataset.load(tiny_dataset), tmp_path).resume(digest)
    edit_array(tiny_dataset / "labels" / "s000_L_CC.npy")
    with pytest.raises(UserError, match=r"data\.json is damaged, too"):
        DataGuard(Dataset.load(tiny_dataset), tmp_path).resume(digest)


def test_other_data_than_those_imported_do_not_begin(tiny_dataset: Path, tmp_path: Path) -> None:
    edit_json(tiny_dataset, lambda c: c["training"][0].update(label_sha256="0" * 64))
    with pytest.raises(UserError, match=r"s000_L_CC\.npy: changed since it was imported"):
        DataGuard(Dataset.load(tiny_dataset), tmp_path).begin()


def test_the_same_image_in_two_sections_does_not_begin(tiny_dataset: Path, tmp_path: Path) -> None:
    for kind in ("images", "labels"):
        source, copy = (tiny_dataset / kind / f"s00{number}_L_CC.npy" for number in (0, 5))
        copy.write_bytes(source.read_bytes())
    with pytest.raises(UserError, match=r"1 images are in two sections: s000_L_CC \(training\) and s005_L_CC"):
        DataGuard(Dataset.load(tiny_dataset), tmp_path).begin()


def test_a_training_of_an_older_version_is_resumed_with_a_warning(
    tiny_dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    DataGuard(Dataset.load(tiny_dataset), tmp_path).resume(None)
    assert "whether its data have changed is unknown" in caplog.text


@pytest.mark.parametrize("sort_keys", [False, True])
@pytest.mark.parametrize("ascii_only", [False, True])
def test_the_text_in_parts_is_that_of_json(sort_keys: bool, ascii_only: bool) -> None:
    many = {f"images/ö{number}.npy": [number, {"b": 1, "a": None}] for number in range(2500, 0, -1)}
    for content in ({"z": many, "a": {}, "list": ["é"], "number": 1.5}, {}):
        text = "".join(in_parts(content, sort_keys=sort_keys, ensure_ascii=ascii_only))
        assert text == json.dumps(content, sort_keys=sort_keys, ensure_ascii=ascii_only)
