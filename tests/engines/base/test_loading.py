"""Number of reading processes and pinned memory, chosen by the device."""

from __future__ import annotations

import pytest
import torch

import engines.base.loading as loading
from engines.base.loading import on_gpu, reading_processes
from engines.base.options import check_options
from transforms.errors import UserError


@pytest.mark.parametrize(
    ("number", "device", "processors", "shares", "expected"),
    [
        ("auto", "cpu", 16, "1", 0),
        ("auto", "cuda", 16, "1", 8),
        ("auto", "cuda:1", 6, "1", 5),
        ("auto", "cuda", 16, "4", 3),
        ("auto", "cuda", 1, "1", 0),
        ("auto", "cuda", 2, "8", 0),
        ("auto", "cuda", 16, "2, at once 2", 3),
        (3, "cpu", 2, "1", 3),
        (0, "cuda", 16, "1", 0),
    ],
)
def test_processes_that_read(
    monkeypatch: pytest.MonkeyPatch, number: object, device: str, processors: int, shares: str, expected: int
) -> None:
    monkeypatch.setattr(loading, "available_processors", lambda: processors)
    started, _, at_once = shares.partition(", at once ")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", started)
    if at_once:
        monkeypatch.setenv("MAMMOSEG_AT_ONCE", at_once)
    assert reading_processes(number, torch.device(device)) == expected


@pytest.mark.parametrize("number", ["many", 1.5, -1, True, None])
def test_another_number_of_processes_is_refused(number: object) -> None:
    with pytest.raises(UserError, match=f"--num_workers {number}: expected a whole number of at least 0, or auto"):
        reading_processes(number, "cpu")


def test_memory_is_pinned_for_a_gpu_alone() -> None:
    assert [on_gpu(device) for device in ("cpu", "cuda:0", torch.device("cpu"))] == [False, True, False]


def test_automatic_is_a_number_of_processes_and_of_nothing_else() -> None:
    check_options({"num_workers": "auto"})
    with pytest.raises(UserError, match="--num_workers many: expected a whole number of at least 0, or auto"):
        check_options({"num_workers": "many"})
    with pytest.raises(UserError, match=r"--patience auto: expected a whole number of at least 0$"):
        check_options({"patience": "auto"})
