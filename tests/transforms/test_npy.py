"""`transforms.npy`: arrays are read in several threads."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.errors import UserError
from transforms.npy import load_npy, open_array


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.uint8).reshape(2, 3))
    return tmp_path / "a.npy"


@pytest.fixture
def threads_change_within_the_parser() -> Iterator[None]:
    """Collect garbage often, and let another thread run each time; some packages' callbacks do."""

    def pause(*_: Any) -> None:
        time.sleep(0)

    before = gc.get_threshold()
    gc.callbacks.append(pause)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*before)
    gc.callbacks.remove(pause)


def read_at_depth(depth: int, path: Path) -> int:
    """Read from a deeper stack: Python's parser compares depths."""
    return read_at_depth(depth - 1, path) if depth else sum(int(open_array(path)[1, 2]) for _ in range(150))


@pytest.mark.usefixtures("threads_change_within_the_parser")
def test_threads_read_at_once(path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read_at_depth, (0, 5, 10, 15), [path] * 4)) == [150 * 5] * 4


def test_an_error_of_the_parser_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = np.load, []

    def sometimes(*args: Any, **options: Any) -> Any:
        calls.append(options)
        if len(calls) < 4:
            raise SystemError("AST constructor recursion depth mismatch (before=33, after=44)")
        return real(*args, **options)

    monkeypatch.setattr(np, "load", sometimes)
    np.testing.assert_array_equal(load_npy(path, mmap_mode=None), [[0, 1, 2], [3, 4, 5]])
    assert calls == [{"mmap_mode": None, "allow_pickle": False}] * 4


def test_an_error_that_stays_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise SystemError

    monkeypatch.setattr(np, "load", never)
    with pytest.raises(UserError, match=r"a\.npy: not a NumPy array that can be read \(SystemError\)"):
        open_array(path)
