"""Rules of the repository that readers rely on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from repository import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it there
    import tomli as tomllib


def tracked_files() -> list[Path]:
    try:
        command = ["git", "-C", str(ROOT), "ls-files", "-z"]
        names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in names if name]


@pytest.mark.parametrize("folder", ["scripts", "mlflow"])
def test_no_init_file_shadows_another_package(folder: str) -> None:
    assert (ROOT / folder).is_dir()
    assert not (ROOT / folder / "__init__.py").exists()


def test_modules_share_a_name_only_with_their_face_or_benchmark() -> None:
    """The faces are the commands, `scripts/*.py`, and `engines.metrics`."""
    places: dict[str, list[str]] = {}
    for package in ("nets", "transforms", "engines", "scripts"):
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            inner = path.parent != ROOT / "scripts" and path.parent.name != "benchmarks"
            if inner and path.stem != "__init__" and name != "engines/metrics.py":
                places.setdefault(path.stem, []).append(name)
    assert [found for found in places.values() if len(found) > 1] == []


def test_errors_are_matched_by_their_words() -> None:
    anything = re.compile(r'match=r?"([.][*]?)?"')
    assert anything.search('match=r"."')
    assert [p for p in (ROOT / "tests").rglob("*.py") if p != Path(__file__) and anything.search(p.read_text())] == []


def test_mlflow_is_the_package() -> None:
    import mlflow

    assert mlflow.__version__


def test_sizes() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 60
    assert [p for p in tracked_files() if p.is_file() and p.stat().st_size > 500_000] == []


def test_no_weights_data_or_pickles_are_committed() -> None:
    endings = {".pt", ".pth", ".dcm", ".npy", ".npz", ".nii", ".gz", ".zip", ".db", ".pkl", ".onnx"}
    assert [p for p in tracked_files() if p.suffix in endings] == []


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["dev"] + extras["docs"]
    names = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in wanted}  # type: ignore[index]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert names - pinned == set()
    assert "torch==2.13.0" in lines


def test_there_is_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    files = [ROOT / "bundles" / "common" / "metadata.json", *ROOT.glob("bundles/*/configs/metadata.json")]
    for metadata in map(json.loads, (path.read_text(encoding="utf-8") for path in files)):
        assert metadata["version"] == version
        assert version in metadata["changelog"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version


def test_the_python_versions_are_those_that_the_workflow_runs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    first, last = versions[0], int(versions[-1].removeprefix("3."))
    assert versions == [f"3.{minor}" for minor in range(int(first.removeprefix("3.")), last + 1)]
    assert project["requires-python"] == f">={first},<3.{last + 1}"


def test_every_document_is_a_page_of_the_site() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = set(re.findall(r"[\w/.-]+\.md", json.dumps(site["nav"])))
    documents = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    bundles = {f"bundles/{path.parents[1].name}.md" for path in ROOT.glob("bundles/*/docs/README.md")}
    assert (documents | bundles) - listed == set(), "add it to nav in mkdocs.yml"


def test_issue_forms_ask_for_no_patient_data() -> None:
    for name in ("bug", "request"):
        form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))
        assert "No patient data" in form["body"][0]["attributes"]["value"]
        assert form["body"][-1]["attributes"]["options"][0]["required"]


def test_links_in_documents_lead_somewhere() -> None:
    broken = []
    for document in [p for p in tracked_files() if p.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")):
            if "://" not in target and not (document.parent / target).exists():
                broken.append(f"{document.relative_to(ROOT)}: {target}")
    assert broken == []


def test_commands_in_the_readme_name_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for config in re.findall(r"--config_file (\S+\.json)", text):
        assert (ROOT / config).is_file()
    for script in re.findall(r"python -m scripts\.([a-z]+)", text):
        assert (ROOT / "scripts" / f"{script}.py").is_file()
