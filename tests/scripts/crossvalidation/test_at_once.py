"""Several commands at once, in processes of this machine or as jobs."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from scripts.crossvalidation import at_once
from scripts.crossvalidation.at_once import Place, run_all
from scripts.crossvalidation.process import terminable
from transforms.errors import UserError

WAITS = "import pathlib, sys, time; here = pathlib.Path(sys.argv[1]); (here / sys.argv[2]).touch()\n"
BOTH = WAITS + "while len(list(here.iterdir())) < 2: time.sleep(0.02)"
ENDS = (
    "import pathlib, signal, sys, time\n"
    "def end(*_):\n    (pathlib.Path(sys.argv[1]) / f'ended {sys.argv[2]}').touch(); sys.exit(3)\n"
    "signal.signal(signal.SIGTERM, end); (pathlib.Path(sys.argv[1]) / sys.argv[2]).touch(); time.sleep(60)"
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_once, "PAUSE", 0.02)


def test_two_run_together_and_share_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("engines.base.threads.available_processors", lambda: 6)
    code = "import os; assert os.environ['OMP_NUM_THREADS'] == '3'\n" + BOTH  # each waits for the other
    ended: list[tuple[int, int]] = []
    words = [[sys.executable, "-c", code, str(tmp_path), str(n)] for n in range(2)]
    assert run_all(2, words.__getitem__, lambda *each: ended.append(each), Place(jobs=2)) is None
    assert sorted(ended) == [(0, 0), (1, 0)]


def test_after_a_failure_none_is_started_and_the_others_end(tmp_path: Path) -> None:
    codes = ["raise SystemExit(7)", "import time; time.sleep(0.3)", "raise SystemExit(9)"]
    ended: dict[int, int] = {}
    failed = run_all(3, lambda n: [sys.executable, "-c", codes[n]], ended.__setitem__, Place(jobs=2))
    assert failed == (0, 7)
    assert ended == {0: 7, 1: 0}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_is_handed_on_to_all(tmp_path: Path) -> None:
    def send() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=send, daemon=True).start()
    words = [[sys.executable, "-c", ENDS, str(tmp_path), str(n)] for n in range(3)]
    with pytest.raises(KeyboardInterrupt), terminable():
        run_all(3, words.__getitem__, lambda *_: None, Place(jobs=2))
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "ended 0", "ended 1"}


def test_all_trainings_that_hang_have_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: list[float] = []

    class Hangs:
        def poll(self) -> int | None:
            if self is started[-1]:
                raise KeyboardInterrupt
            return None

        def ask(self) -> None: ...

        def wait(self, deadline: float) -> None:
            deadlines.append(deadline)
            time.sleep(0.01)

    started = [Hangs(), Hangs(), Hangs()]
    waiting = iter(started)
    monkeypatch.setattr(at_once, "_here", lambda place: lambda words: next(waiting))
    with pytest.raises(KeyboardInterrupt):
        run_all(3, lambda index: [], lambda index, code: None, Place(3))
    assert len(deadlines) == 3
    assert len({*deadlines}) == 1


def test_a_cluster_needs_submitit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"submitit is not installed; pip install 'mammoseg\[slurm\]'"):
        run_all(1, lambda _: ["true"], lambda *_: None, Place(cluster="local", folder=tmp_path))


def test_jobs_of_the_local_engine(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    codes: dict[int, int] = {}
    place = Place(cluster="local", folder=tmp_path / "jobs", options={"timeout_min": 1})
    words = [[sys.executable, "-c", f"raise SystemExit({n})"] for n in range(2)]
    assert run_all(2, words.__getitem__, codes.__setitem__, place) == (1, 1)
    assert codes == {0: 0, 1: 1}
    with pytest.raises(UserError, match="--cluster_option: "):
        run_all(1, words.__getitem__, codes.__setitem__, Place(cluster="local", folder=tmp_path, options={"x": 1}))


def test_each_takes_the_gpu_with_the_fewest_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    code = "import os, sys; sys.argv[2] = os.environ['CUDA_VISIBLE_DEVICES']\n" + BOTH  # ends if the two differ
    words = [[sys.executable, "-c", code, str(tmp_path), ""]] * 2
    assert run_all(2, words.__getitem__, lambda *_: None, Place(jobs=2)) is None
    assert {path.name for path in tmp_path.iterdir()} == {"2", "5"}
