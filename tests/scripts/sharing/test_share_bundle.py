"""A shared bundle end to end: trained, zipped, unzipped, and used without the repository."""

from __future__ import annotations

import getpass
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset_factory import make_dataset
from PIL import Image
from repository import ROOT
from sharing_factory import bundle_command, clean_python

from engines.base.network_file import all_rows
from engines.records.tables import read_csv
from scripts.share import main
from scripts.sharing import archive
from transforms.digests import file_sha256

STAGES = {name: list(rows.stages)[-1] for name, rows in all_rows().items()}


def write_png(dataset: Path, folder: Path) -> Path:
    """One image of a dataset folder as a picture."""
    folder.mkdir()
    image = np.load(dataset / "images" / "s004_L_CC.npy").astype(np.uint32) * 65535 // 4095
    Image.fromarray(image.astype(np.uint16)).save(folder / "a.png")
    return folder


def share(capsys: pytest.CaptureFixture[str], *words: str | Path) -> dict[str, Any]:
    """Run the command with --json and return what it printed."""
    capsys.readouterr()
    code = main([*map(str, words), "--json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    result: dict[str, Any] = json.loads(printed.out)
    return result


def unzip(path: str | Path, folder: Path) -> Path:
    """Unzip a shared bundle; returns the one folder in it."""
    with zipfile.ZipFile(path) as archive_:
        assert archive_.testzip() is None
        archive_.extractall(folder)
    (bundle,) = folder.iterdir()
    return bundle


def names_of_this_machine(output: Path) -> list[bytes]:
    """Texts that would reveal where and by whom a zip was made."""
    places = [ROOT, output, Path.home(), Path(torch.__file__).parents[1]]
    return [f"{place}/".encode() for place in places] + [f"/{getpass.getuser()}/".encode(), b"site-packages"]


def test_a_trained_bundle_is_shared_and_works_alone(
    run_bundle: Callable[..., None], tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_bundle(bundle="unet", dataset_dir=str(tiny_dataset), max_epochs=1)
    output = tmp_path / "out"
    made = share(capsys, "unet", tmp_path / "zips", "--output_dir", output, "--version", "1.0.0", "--formats", "ts")
    path = tmp_path / "zips" / "mammoseg_unet_v1.0.0.zip"
    assert made["path"] == str(path)
    assert made["sha256"] == file_sha256(path)
    assert list(made["exports"]) == ["model.pt", "model.ts"]
    assert max(made["exports"].values()) < 1e-4

    folder = unzip(path, tmp_path / "somewhere else #1")
    assert folder.name == "unet"
    for file in archive.files_in(folder):
        content = file.read_bytes()
        found = [name for name in names_of_this_machine(output) if name in content]
        assert found == [], file
    sums = dict(reversed(line.split("  ", 1)) for line in (folder / "SHA256SUMS").read_text().splitlines())
    files = {p.relative_to(folder).as_posix(): file_sha256(p) for p in archive.files_in(folder)}
    files.pop("SHA256SUMS")
    assert sums == files

    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    trained = json.loads((output / "models" / "model.json").read_text())
    assert metadata["eval_metrics"] == trained["validation"]
    assert metadata["dataset"]["licence"] == "none needed"
    assert "made by the tests" in (folder / "docs" / "data_license.txt").read_text()
    assert f"{100 * trained['validation']['mean_iou']:.2f}" in (folder / "docs" / "README.md").read_text()

    pictures = write_png(tiny_dataset, tmp_path / "pictures")
    config = ["--config_file", "configs/inference.json"]
    printed = bundle_command(folder, tmp_path / "home", "run", *config, "--dataset_dir", pictures)
    assert "1 images segmented" in printed
    results = sorted(p.name for p in (folder / "eval" / "segmentations").iterdir() if p.name.startswith("a_"))
    assert {"a_labels.png", "a_overlay.png", "a_seg.nii.gz"} <= set(results)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("bundle", sorted(STAGES))
def test_every_bundle_in_every_format_and_everything_that_is_done_with_it(
    bundle: str, run_bundle: Callable[..., None], tiny_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_bundle(bundle=bundle, dataset_dir=str(tiny_dataset), max_epochs=1, learning_rate=0.001)
    words = [bundle, "--output_dir", tmp_path / "out", "--formats", "ts,pt2,onnx"]
    first = share(capsys, words[0], tmp_path / "1.zip", *words[1:])
    again = share(capsys, words[0], tmp_path / "2.zip", *words[1:])
    assert first["sha256"] == again["sha256"], "the same training gives the same bytes"
    assert list(first["exports"]) == ["model.pt", "model.ts", "model.pt2", "model.onnx"]
    assert max(first["exports"].values()) < 1e-4

    folder, home = unzip(tmp_path / "1.zip", tmp_path / "unzipped"), tmp_path / "home"
    scores = json.loads((folder / "configs" / "metadata.json").read_text())["eval_metrics"]
    bundle_command(
        folder, home, "run", "--config_file", "configs/evaluate.json", "--dataset_dir", tiny_dataset,
        "--tracking_uri", tmp_path / "runs.db",
    )  # fmt: skip
    rows = read_csv(folder / "eval" / "tiny-validation" / "scores.csv")
    assert float(rows[-1]["mean_iou"]) == pytest.approx(scores["mean_iou"], abs=1e-6)

    other = make_dataset(tmp_path / "other data", seed=7, name="other")
    printed = bundle_command(
        folder, home, "run", "training", "--config_file", "configs/train.json", "--dataset_dir", other,
        "--max_epochs", "1", "--stages", f"['{STAGES[bundle]}']", "--width", "0.02", "--crop_size", "24",
        "--batch_size", "4", "--micro_batch_size", "4", "--init_weights", "models/model.pt",
        "--output_dir", tmp_path / "next",
    )  # fmt: skip
    assert "validation subjects of other" in printed
    assert re.search(r"Initial weights: .*model\.pt", printed)
    assert (folder / "mlflow.db").is_file(), "runs are stored in the bundle's own folder"
    files = ["--meta_file", "configs/metadata.json", "--config_file", "configs/inference.json"]
    assert "verified" in bundle_command(folder, home, "verify_net_in_out", "network_def", *files)
    target = tmp_path / "again.ts"
    checkpoint = ["--ckpt_file", "models/model.pt"]
    bundle_command(folder, home, "ckpt_export", "network_def", "--filepath", target, *checkpoint, *files)  # scripted
    assert target.is_file()
    check_python_api(folder, home, bundle)


def check_python_api(folder: Path, home: Path, bundle: str) -> None:
    """Use an unzipped bundle in a user's program."""
    code = f"""
import torch, monai.bundle as b
network = b.load("{bundle}", bundle_dir="..", workflow_type="inference").eval()
script, metadata, extra = b.load("{bundle}", bundle_dir="..", load_ts_module=True, config_files=("inference.json",))
workflow = b.create_workflow(config_file="configs/inference.json", workflow_type="infer")
with torch.no_grad():
    x = torch.rand(1, 3, 64, 96) - 0.5
    assert torch.allclose(network(x), script(x), atol=1e-4)
    assert torch.allclose(network(x), torch.export.load("models/model.pt2").module()(x), atol=1e-4)
assert workflow.network_def.state_dict().keys() == network.state_dict().keys()
print("version", metadata["version"], "configs", list(extra))
"""
    done = clean_python(folder, home, "-c", code)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "version 0.1.0 configs ['inference.json']" in done.stdout
