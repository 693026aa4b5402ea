"""Refusals of `scripts.share` before the export, and messages on failed exports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sharing_factory import make_trained

from scripts.share import main
from scripts.sharing import exports
from scripts.sharing.pack import ShareOptions, stage
from scripts.sharing.trained import find_bundle, find_trained
from transforms.errors import UserError


def test_weights_of_another_bundle_are_refused_where_they_say_so(tmp_path: Path) -> None:
    output = make_trained(tmp_path / "out", bundle="unet", stages=["unet"])
    settings = json.loads((output / "models" / "model.json").read_text())
    for name in ("unet", "of-another-machine"):
        (output / "models" / "model.json").write_text(json.dumps({**settings, "bundle": name}))
        assert find_trained("unet", output).name == "unet"
    (output / "models" / "model.json").write_text(json.dumps({**settings, "bundle": "unet"}))
    with pytest.raises(UserError, match="was trained with the bundle unet, not fcn; share unet, or give"):
        find_trained("fcn", output)


@pytest.mark.parametrize("name", ["a.txt", "a.txt/below", "a.txt/below.zip"])
def test_a_file_in_the_place_of_the_folder_is_told_before_anything_is_exported(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scripts.sharing.pack.stage", lambda *_: pytest.fail("was begun"))
    make_trained(tmp_path / "out")
    (tmp_path / "a.txt").write_text("mine")
    assert main(["unet", str(tmp_path / name), "--output_dir", str(tmp_path / "out")]) == 2
    assert "a.txt: is a file; expected a folder or a path that ends in .zip" in capsys.readouterr().err
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_the_last_line_of_an_error_says_what_is_behind_monais(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "stage" / "fcn"
    trained = find_trained("unet", make_trained(tmp_path / "out", stages=["unet"]))  # without its bundle, as before
    stage(replace(trained, bundle=find_bundle("fcn")), folder, ShareOptions())
    assert exports.main([str(folder), "pt"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: the bundle fcn cannot build the network of these weights (unknown stage 'unet': FCN")
    assert last.endswith("); give the bundle of their training")


def test_of_errors_that_are_wrapped_the_first_is_told() -> None:
    first, wrapped = ValueError("no such layer\nand more"), RuntimeError("Failed to evaluate")
    wrapped.__cause__ = first
    assert exports.cause_of(wrapped) == "ValueError: no such layer"
