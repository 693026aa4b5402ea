"""Invalid options are refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from repository import ROOT

from engines.base.options import REAL, WHOLE, check_options, switch, with_switches
from transforms.errors import UserError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("batch_size", "8"),
        ("batch_size", True),
        ("batch_size", None),
        ("image_height", 0),
        ("image_height", -256),
        ("num_workers", -1),
        ("patience", -1),
        ("seed", -1),
        ("width", 0),
        ("width", -1),
        ("width", 100),
        ("width", float("nan")),
        ("lr_drop_factor", 0),
        ("lr_drop_factor", 1.5),
        ("momentum", -0.1),
        ("min_delta", float("inf")),
        ("memory_gb", 0),
        ("image_height", "null"),
    ],
)
def test_refused_with_the_name_and_what_may_be(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"--{name} .*expected a (whole )?number"):
        check_options({name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 1),
        ("image_height", None),
        ("patience", 0),
        ("width", 1.0),
        ("momentum", 0),
        ("lr_drop_factor", 1),
    ],
)
def test_the_ends_of_the_ranges_are_accepted(name: str, value: Any) -> None:
    check_options({name: value, "init_weights": None, "stages": ["front"]})


def test_every_checked_number_is_an_option_of_the_bundles() -> None:
    configs = ROOT / "bundles" / "dilation10" / "configs"
    train, inference = (json.loads((configs / f"{name}.json").read_text()) for name in ("train", "inference"))
    assert {*WHOLE, *REAL} <= {*train["options"], *inference}


@pytest.mark.parametrize(("value", "meant"), [(True, True), ("true", True), ("False", False), ("false", False)])
def test_switches_say_what_a_person_means(value: Any, meant: bool) -> None:
    assert switch(value, "--resume") is meant


def test_a_switch_that_is_neither_is_refused() -> None:
    with pytest.raises(UserError, match="--resume yes: expected true or false"):
        switch("yes", "--resume")
    with pytest.raises(UserError, match="--balanced 0: expected true or false"):
        check_options({"balanced": 0})
    check_options({"balanced": "false", "mirror_averaging": False})


def test_a_training_records_switches_as_true_or_false() -> None:
    given = {"balanced": "false", "mirror_averaging": "True", "seed": 1, "recipe": "true"}
    assert with_switches(given) == {"balanced": False, "mirror_averaging": True, "seed": 1, "recipe": "true"}
