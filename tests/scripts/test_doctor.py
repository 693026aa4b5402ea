"""The checkup: one line per check, and remedies for problems."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.checkup import machine_findings as findings
from scripts.checkup import package_versions as versions
from scripts.checkup.machine_findings import NOTE, OK, PROBLEM, Finding
from scripts.doctor import main


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder for results and the store."""
    monkeypatch.setattr(findings, "project_root", lambda: tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tmp_path


def test_one_screen(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert {line.split()[0] for line in lines} <= {OK, NOTE, "→"}
    assert f"{OK:<8} {'folder':<14} results go to {folder}" in lines
    assert list(folder.iterdir()) == []


def test_a_problem_ends_with_one_and_a_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(findings, "_disk", lambda: Finding("disk", PROBLEM, "0.1 GB free", "make room"))
    assert main([]) == 1
    assert f"{PROBLEM:<8} {'disk':<14} 0.1 GB free\n{'':<24}→ make room\n" in capsys.readouterr().out
    assert main(["--json"]) == 1
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["disk"] == {"name": "disk", "state": PROBLEM, "text": "0.1 GB free", "remedy": "make room"}


def test_what_breaks_is_a_problem_and_the_rest_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Finding:
        raise OSError("libgdcm.so: cannot open\nshared object")

    monkeypatch.setattr(findings, "_decoders", broken)
    found = {each.name: each for each in findings.checkup()}
    assert found["decoders"].state == PROBLEM
    assert "\n" not in found["decoders"].text
    assert found["folder"].state == OK


def test_disk_and_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9, total=64 * 2**20))
    monkeypatch.setattr(findings, "free_memory", lambda: 10**9)
    assert findings._disk() == Finding(
        "disk", PROBLEM, f"0.9 GB free in {tmp_path}", "make room, or work in another folder"
    )
    assert findings._memory().state == NOTE
    assert findings._shared_memory(tmp_path) == Finding(
        "shared memory", NOTE, f"0.06 GB in {tmp_path}", "--num_workers 0, or docker run --shm-size 2g"
    )
    assert findings._shared_memory(tmp_path / "absent").state == OK


@pytest.mark.parametrize(("number", "state"), [("64", NOTE), ("1", OK)])
def test_more_threads_than_processors(monkeypatch: pytest.MonkeyPatch, number: str, state: str) -> None:
    monkeypatch.setattr(findings, "available_processors", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", number)
    assert findings._threads().state == state


def test_a_store_that_is_none(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "mlflow.db").write_text("thesis" * 1000)
    assert findings._tracking().state == PROBLEM
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:9")
    found = findings._tracking()
    assert found.state == PROBLEM
    assert "secret" not in found.text
    assert found.remedy == "start the server, or correct MLFLOW_TRACKING_URI"


def test_a_decoder_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = SimpleNamespace(is_available=True)
    missing = SimpleNamespace(is_available=False)
    monkeypatch.setattr(
        "pydicom.pixels.decoders.base.get_decoder", lambda uid: missing if uid == findings.SYNTAXES["RLE"] else real
    )
    assert findings._decoders().text == "missing for RLE"


@pytest.fixture
def installation(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Packages of an installation that needs three, and two pins."""
    found = {"mammoseg": "0.1.0", "torch": "2.13.0+cpu", "monai": "1.6.1"}

    def version(name: str) -> str:
        if name not in found:
            raise PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(versions, "version", version)
    monkeypatch.setattr(versions, "requires", lambda name: ["torch>=2.6", "monai<1.7,>=1.6", 'onnx; extra == "dev"'])
    monkeypatch.setattr(versions, "pinned", lambda: {"torch": "2.13.0", "monai": "1.6.1"})
    return found


def test_packages_as_tested(installation: dict[str, str]) -> None:
    assert versions.packages() == ("mammoseg 0.1.0; torch 2.13.0+cpu, monai 1.6.1; as tested", [], [])


def test_packages_other_than_tested(installation: dict[str, str]) -> None:
    installation["torch"] = "2.14.0"
    text, problems, others = versions.packages()
    assert (problems, others) == ([], ["torch 2.14.0 (tested: 2.13.0)"])
    assert text.endswith("not the tested version: torch 2.14.0 (tested: 2.13.0)")


def test_packages_that_do_not_fit(installation: dict[str, str]) -> None:
    del installation["torch"]
    installation["monai"] = "1.7.0"
    assert versions.packages()[1] == ["torch is missing", "monai 1.7.0; expected <1.7,>=1.6"]


def test_pins_are_those_of_the_file() -> None:
    assert versions.pinned()["torch"] == "2.13.0"
