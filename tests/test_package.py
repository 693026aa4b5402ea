"""The package `mammoseg` and its command, from this checkout; tests/test_wheel.py has the wheel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import mammoseg
from engines.base import paths
from mammoseg import command
from mammoseg.command import main, monai_command
from transforms.command_names import command_names
from transforms.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "bundles" / "unet" / "configs"

SPAWNED = """
import multiprocessing

def same(_):
    import mammoseg.transforms.errors, transforms.errors
    return mammoseg.transforms is transforms and mammoseg.transforms.errors is transforms.errors

if __name__ == "__main__":
    from mammoseg.transforms.errors import UserError
    assert UserError.__module__ == "transforms.errors"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(same, [0]) == [True]
        assert pool.map(type, [UserError("pickled there and back")]) == [UserError]
"""


def test_both_names_are_one_module() -> None:
    import mammoseg.engines.base.paths
    import mammoseg.nets.fcn

    import nets.fcn

    assert mammoseg.nets is nets
    assert mammoseg.nets.fcn is nets.fcn
    assert mammoseg.engines.base.paths is paths
    assert nets.__spec__ is not None
    assert nets.fcn.__spec__ is not None
    assert (nets.__name__, nets.__spec__.name, nets.fcn.__spec__.name) == ("nets", "nets", "nets.fcn")


def test_they_are_in_spawned_processes(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SPAWNED)
    command = [sys.executable, str(program)]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nots'"):
        mammoseg.nots  # noqa: B018
    with pytest.raises(ModuleNotFoundError, match=r"nets\.nothing"):
        __import__("mammoseg.nets.nothing")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if installed from a wheel, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paths, "is_installed", lambda: True)
    monkeypatch.setattr(command, "is_installed", lambda: True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_in_a_checkout_the_command_is_monais_with_shorter_words() -> None:
    words = monai_command("unet", "train", "training", ["--max_epochs", "2"])
    expected = f"-m monai.bundle run training --config_file {CONFIGS / 'train.json'} --max_epochs 2"
    assert words == expected.split(" ")


def test_installed_results_go_to_the_working_directory(wheel: Path) -> None:
    words = monai_command("unet", "train", "training", ["--max_epochs", "2"])
    assert words[6:] == [
        *("--dataset_dir", str(wheel / "data" / "sample")),
        *("--output_dir", str(wheel / "outputs" / "unet")),
        *("--tracking_uri", str(wheel / "mlflow.db")),
        *("--max_epochs", "2"),
    ]
    assert paths.bundle_root("unet") == str(wheel / "outputs" / "unet")
    assert paths.project_root() == wheel


@pytest.mark.parametrize("given", [["--output_dir", "mine"], ["--output_dir=mine"]], ids=["space", "equals"])
def test_what_is_given_counts(wheel: Path, monkeypatch: pytest.MonkeyPatch, given: list[str]) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    words = monai_command("unet", "evaluate", "evaluating", given)
    assert words[6:] == ["--dataset_dir", str(wheel / "data" / "sample"), *given]


def test_inference_has_no_store(wheel: Path) -> None:
    words = monai_command("unet", "inference", "run", ["--dataset_dir", "images"])
    assert words[6:] == ["--output_dir", str(wheel / "outputs" / "unet"), "--dataset_dir", "images"]


def test_a_bundle_of_ones_own_comes_first(wheel: Path) -> None:
    configs = wheel / "bundles" / "unet" / "configs"
    configs.mkdir(parents=True)
    (configs / "train.json").write_text("{}")
    assert monai_command("unet", "train", "training", [])[5] == str(configs / "train.json")
    assert monai_command("fcn", "train", "training", [])[5] == str(ROOT / "bundles" / "fcn" / "configs" / "train.json")


def test_options_before_the_bundle_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--max_epochs", "3"]) == 2
    assert capsys.readouterr().err.startswith("error: --max_epochs: expected the name of a bundle before the options")


def test_a_folder_without_dataset_is_checked_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    assert "not a dataset folder: looked for dataset.json, it holds nothing" in capsys.readouterr().err


def test_an_unknown_bundle_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"resnet: unknown bundle; choose from .*dilation10, .*unet"):
        monai_command("resnet", "train", "training", [])
    assert main(["train", "resnet"]) == 2
    assert capsys.readouterr().err.startswith("error: resnet: unknown bundle")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The commands that would have been run."""
    found: list[Sequence[str]] = []
    monkeypatch.setattr("os.execv", lambda path, words: found.append(words))
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="starts a process instead of becoming it")
@pytest.mark.parametrize(
    ("words", "config", "run_id"),
    [
        ("train unet --width 0.1", "train", "training"),
        ("evaluate unet --section test", "evaluate", "evaluating"),
        ("infer unet images --formats ['png']", "inference", "run"),
        ("check unet --recipe tissue", "train", "check"),
    ],
)
def test_the_line_that_is_printed_is_what_runs(
    started: list[Sequence[str]], capsys: pytest.CaptureFixture[str], words: str, config: str, run_id: str
) -> None:
    import shlex

    assert main(words.split()) == 0
    printed = shlex.split(capsys.readouterr().out)
    (ran,) = started
    assert printed[1:] == ran[1:]
    assert printed[0] in ("python", sys.executable)
    assert ran[3:7] == ["run", run_id, "--config_file", str(CONFIGS / f"{config}.json")]
    assert list(ran)[7 if words.split()[0] != "infer" else 9 :] == words.split()[-2:]


def test_check_of_a_dataset_folder(tiny_dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tiny_dataset), "--quiet"]) == 0
    assert "subjects" in capsys.readouterr().out
    content = (tiny_dataset / "dataset.json").read_text()
    (tiny_dataset / "dataset.json").write_text(content.replace('"validation"', '"validatino"', 1))
    assert main(["check", str(tiny_dataset), "--quiet"]) == 2


def test_commands_of_scripts_are_those_of_this_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        ("compare --help", "Usage: mammoseg compare "),
        ("prepare folder --help", "Usage: mammoseg prepare folder "),
        ("new --help", "Usage: mammoseg new "),
        ("--help", "Put a trained bundle into a zip"),
    ):
        assert main(words.split()) == 0
        assert expected in capsys.readouterr().out
    assert main(["compare", "--tag", "x"]) == 2
    assert main(["nothing"]) == 2


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("train d", ["deeplabv3", "dilation10"]), ("train unet --max_ep", ["--max_epochs"]), ("prepare q", ["qupath"])],
)
def test_the_shell_completes_bundles_options_and_commands(typed: str, completed: list[str]) -> None:
    environment = {
        "PYTHONPATH": str(ROOT),
        "_MAMMOSEG_COMPLETE": "complete_bash",
        "COMP_WORDS": f"mammoseg {typed}",
        "COMP_CWORD": str(typed.count(" ") + 1),
    }
    program = [sys.executable, "-m", "mammoseg"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == completed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("make one with `python -m scripts.prepare folder`", "make one with `mammoseg prepare folder`"),
        ("as scripts.compare makes it", "as mammoseg compare makes it"),
        ("python -m scripts.bundles new own", "mammoseg new own"),
        ("python -m scripts.bundles --check", "python -m scripts.bundles --check"),
    ],
)
def test_commands_are_called_what_they_are_called_in_an_installation(text: str, expected: str) -> None:
    assert command_names(text, installed=True) == expected
    assert command_names(text, installed=False) == text


def test_help_lists_options_that_one_bundle_alone_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken network.json does not take the help away."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "network.json").write_text("{")
    monkeypatch.setattr(command, "bundle_folders", lambda: [tmp_path, paths.code_root() / "bundles"])
    assert main(["train", "--help"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert "--norm Feature normalization" in listed
    assert "Only unet." in listed


def test_help_lists_the_options_of_bundles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "--max_epochs" in printed
    assert "--learning_rate" in printed
    assert "--results_dir" not in printed
    assert main(["infer", "--help"]) == 0
    assert "--results_dir" in capsys.readouterr().out
