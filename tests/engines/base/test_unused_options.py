"""Options without effect are told."""

from __future__ import annotations

import json
import logging
import sys

import pytest
from repository import ROOT

from engines.base.options import check_options
from engines.base.unused_options import _WITHOUT_EFFECT, unused_options
from scripts.bundlewriter.source import Config
from transforms.errors import UserError


def test_every_name_and_value_exists() -> None:
    config: Config = json.loads((ROOT / "bundles/fcn/configs/train.json").read_text("utf-8"))
    choices = {"sampling": "samplings", "loss": "losses", "solver": "optimizers"}
    for name, (other, values) in _WITHOUT_EFFECT.items():
        assert {name, other} <= set(config)
        assert other not in choices or set(values) <= set(config[choices[other]])


@pytest.mark.parametrize(
    ("words", "options", "sentences"),
    [
        (["--momentum", "0.5"], {"solver": "adamw"}, ["--momentum has no effect with --solver adamw"]),
        (["--momentum", "0.5"], {"solver": "sgd"}, []),
        (["--max_epochs", "2"], {"solver": "adamw", "momentum": 0.9}, []),  # of the recipe
        (
            ["--threshold_rule=dice"],
            {"threshold_from": None},
            ["--threshold_rule has no effect without --threshold_from"],
        ),
        (["--threshold_rule=dice"], {"threshold_from": "validation"}, []),
        (
            ["--class_weights", "[1,5]", "--x", "1"],
            {"loss": "tversky"},
            ["--class_weights has no effect with --loss tversky"],
        ),
        (["--class_weights", "none"], {}, []),
    ],
)
def test_what_is_told(words: list[str], options: dict[str, object], sentences: list[str]) -> None:
    assert list(unused_options(["run", "training", *words], options)) == sentences


def test_it_is_a_warning(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "training", "--lr_drop_period", "3"])
    with caplog.at_level(logging.WARNING, "mammoseg"):
        check_options({"lr_schedule": "cosine", "lr_drop_period": 3})
    assert "--lr_drop_period has no effect with --lr_schedule cosine" in caplog.text
    with pytest.raises(UserError, match="--lr_drop_period 0"):
        check_options({"lr_schedule": "cosine", "lr_drop_period": 0})
