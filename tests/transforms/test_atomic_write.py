"""Atomically written files, and leftovers of killed processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

from transforms.atomic_write import atomic_file
from transforms.processes import Identity

DIES = """
import os, signal, sys
from pathlib import Path
from transforms.atomic_write import atomic_file
with atomic_file(Path(sys.argv[1]) / "a_seg.nii.gz") as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL, and no way to ask for a process")
def test_the_next_write_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], cwd=ROOT, check=False)
    assert [path.suffixes for path in tmp_path.iterdir()] == [[".nii", ".gz"]]
    with atomic_file(tmp_path / "b.png") as part:
        part.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["b.png"]


def test_unfinished_files_of_others_stay(tmp_path: Path) -> None:
    own = Identity.own()
    alive, elsewhere = own.brief(), Identity("other", own.boot, own.namespace, 2**22 + 1, 1).brief()
    names = [f".part-{alive}-00000000.png", f".part-{elsewhere}-00000000.png", ".part-0123456789abcdef.png", ".part-a"]
    for name in names:
        (tmp_path / name).touch()
    with atomic_file(tmp_path / "b.png") as part:
        part.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, "b.png"])


def test_a_process_number_that_was_given_again_is_another_process() -> None:
    own = Identity.own()
    assert not Identity.is_gone(f"{own.brief()}-00000000.png")
    if own.started is not None:
        assert Identity.is_gone(Identity(own.host, own.boot, own.namespace, os.getpid(), own.started - 1).brief())
