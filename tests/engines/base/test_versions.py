"""A bundle made with another version of MONAI warns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import monai
import pytest
from refusals import refused
from repository import ROOT

from engines.base.checkout import git_commit
from engines.base.versions import compare_versions, series


@pytest.mark.parametrize(
    ("version", "expected"), [("1.6.1", (1, 6)), ("1.6", (1, 6)), ("1.10.0rc1+cpu", (1, 10)), ("2", (2,))]
)
def test_series(version: str, expected: tuple[int, ...]) -> None:
    assert series(version) == expected


@pytest.mark.parametrize("metadata", [None, {}, {"monai_version": ""}, {"monai_version": monai.__version__}, "text"])
def test_nothing_to_say(metadata: Any, caplog: pytest.LogCaptureFixture) -> None:
    compare_versions(metadata)
    assert caplog.text == ""


def test_another_patch_release_is_the_same(caplog: pytest.LogCaptureFixture) -> None:
    compare_versions({"monai_version": ".".join(map(str, series(monai.__version__))) + ".99"})
    assert caplog.text == ""


def test_a_running_bundle_prints_both_versions(
    process_state: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The line comes from `engines.begin`, before the run fails for lack of data."""
    from monai.bundle import run

    configs = shutil.copytree(ROOT / "bundles" / "unet" / "configs", tmp_path / "configs")
    metadata = json.loads((configs / "metadata.json").read_text())
    (configs / "metadata.json").write_text(json.dumps({**metadata, "monai_version": "0.9.1"}))
    with refused("1 problem found, see above"):
        run("check", config_file=str(configs / "train.json"), dataset_dir=str(tmp_path / "none"))
    lines = [line for line in capfd.readouterr().out.splitlines() if "0.9.1" in line]
    assert len(lines) == 1
    assert f"installed is {monai.__version__}" in lines[0]


def test_a_folder_inside_someone_else_s_checkout_has_no_commit(tmp_path: Path) -> None:
    assert git_commit(ROOT / "engines") == "unknown"
    assert git_commit(tmp_path) == "unknown"
