"""The wheel, built from committed files and used in a separate environment, in an empty folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SLIM = ["--width", "0.02", "--image_height", "64", "--crop_size", "32", "--max_epochs", "1", "--log_model", "false"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tracked files: building leaves files behind."""
    pytest.importorskip("setuptools", "77", reason="building a wheel without a network needs setuptools 77")
    source = tmp_path_factory.mktemp("source")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    (source / "bundles" / "unet" / "models").mkdir()
    (source / "bundles" / "unet" / "models" / "model.pt").write_text("weights of somebody")
    program = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", program], cwd=source, capture_output=True, check=True)
    return next((source / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which the wheel, and this environment's packages, are found."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    binaries = folder / ("Scripts" if os.name == "nt" else "bin")
    python = binaries / ("python.exe" if os.name == "nt" else "python")
    install = ["--python", str(python), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    subprocess.run([sys.executable, "-m", "pip", *install], env=kept, check=True)  # a checkout on the path is no wheel
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    site = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    (Path(site) / "packages.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return {**kept, "PATH": os.pathsep.join((str(binaries), os.environ["PATH"]))}


def test_what_it_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        texts = {name: content.read(name).decode() for name in names if name.endswith("/train.json")}
    assert {name.split("/")[0] for name in names} == {"mammoseg", names[-1].split("/")[0]}
    assert names[-1].endswith(".dist-info/RECORD")
    inside = {"py.typed", "LICENSE", "constraints.txt", "nets/fcn.py", "scripts/compare.py", "docs/options.md"}
    inside |= {"transforms/dataset.schema.json", "scripts/sharing/metadata.schema.json"}
    inside |= {"bundles/unet/configs/train.json", "bundles/common/train.json", "bundles/unet/network.json"}
    assert {f"mammoseg/{name}" for name in inside} <= set(names)
    assert [name for name in names if "/models/" in name or "/tests/" in name] == []
    for name, text in texts.items():
        assert json.loads(text)["imports"][:2] == ["$import mammoseg", "$import engines"], name


def test_everything_in_an_empty_folder(environment: dict[str, str], tmp_path: Path) -> None:
    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{words}: {done.stdout[-1000:]} {done.stderr[-1000:]}"
        return done.stdout + done.stderr

    run("python", "-c", "import engines", code=1)
    run("python", "-c", "from mammoseg.nets import FCN; import nets, engines; assert FCN is nets.FCN")
    assert f"results go to {tmp_path}" in run("mammoseg", "doctor")
    assert "unknown bundle; choose from deeplabv3" in run("mammoseg", "check", "data/mine", code=2)
    assert "make one with `mammoseg prepare folder" in run("mammoseg", "prepare", "check", "data/mine", code=2)
    run("mammoseg", "sample", "data/sample", "--subjects", "4", "--height", "128")
    run("mammoseg", "check", "data/sample")
    assert "ready to train" in run("mammoseg", "check", "unet", *SLIM)
    printed = run("mammoseg", "train", "unet", *SLIM).splitlines()[0]
    assert printed.startswith("python -m monai.bundle run training --config_file ")
    assert (tmp_path / "outputs" / "unet" / "models" / "model.pt").is_file()
    trained = (tmp_path / "outputs" / "unet" / "models" / "model.json").read_text()
    subprocess.run(printed, shell=True, cwd=tmp_path, env=environment, check=True)
    again = (tmp_path / "outputs" / "unet" / "models" / "model.json").read_text()
    assert json.loads(again)["validation"] == json.loads(trained)["validation"]
    run("mammoseg", "evaluate", "unet")
    run("mammoseg", "infer", "unet", "data/sample/source", "--formats", "['png']")
    assert len(list((tmp_path / "outputs" / "unet" / "eval" / "segmentations").rglob("*.png"))) == 16
    assert "U-Net" in run("mammoseg", "compare")
    run("mammoseg", "new", "own", "--network", "monai.networks.nets.BasicUNet", "features=[4,4,4,4,4,4]")
    assert "ready to train" in run("mammoseg", "check", "own", *SLIM[2:])
    run("mammoseg", "crossval", "unet", "--folds", "2", *SLIM)
    run("mammoseg", "share", "unet", "shared.zip", "--formats", "pt")
    run("python", "-m", "zipfile", "-e", "shared.zip", "shared")
    (config,) = (tmp_path / "shared").rglob("configs/train.json")
    assert "import mammoseg" not in config.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["bundles", "comparison", "data", "mlflow.db", "mlruns", "outputs", "shared", "shared.zip"]
    )


def test_the_tutorial(environment: dict[str, str], tmp_path: Path) -> None:
    """All cells with one epoch, in two minutes; it writes into a folder of its own only."""
    pytest.importorskip("nbclient", reason="an older environment: make test installs it")
    shutil.copyfile(ROOT / "docs" / "tutorial.ipynb", tmp_path / "tutorial.ipynb")
    program = "from nbclient.cli import main; main()"
    command = ["python", "-c", program, "tutorial.ipynb", "--output", "done", "--kernel_name", "python3"]
    settings = {**environment, "MAMMOSEG_TUTORIAL_EPOCHS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["done.ipynb", "mammoseg-tutorial", "tutorial.ipynb"]
    made = tmp_path / "mammoseg-tutorial"
    assert {"deeplabv3.zip", "bundles", "comparison", "results", "sheet.png"} <= {path.name for path in made.iterdir()}
    assert "Attention U-Net" in (made / "comparison" / "comparison.md").read_text()
