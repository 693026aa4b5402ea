"""Examples in docstrings give the stated results."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "engines.scoring.metrics", "engines.scoring.boundary", "nets.deeplabv3", "nets.dilation10", "nets.fcn",
    "nets.valid_unet", "nets.vgg", "transforms.working_resolution",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
