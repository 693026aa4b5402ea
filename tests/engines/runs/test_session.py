"""Mistyped options, unknown recipes and readable errors."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow
from repository import ROOT

from engines.records.output_folder import Output
from engines.runs.owned_run import resumable
from engines.runs.session import begin, readable_excepthook
from transforms.errors import UserError, user_error


def test_a_mistyped_option_is_refused_with_the_nearest_names(run_bundle: Callable[..., None]) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(max_epoch=2)
    assert "--max_epoch" in str(user_error(raised.value))
    assert "did you mean --max_epochs" in str(user_error(raised.value))


@pytest.mark.parametrize("name", ["_desc_learning_rate", "_desc_", "_desc_nothing"])
def test_the_sentences_of_options_are_no_options(run_bundle: Callable[..., None], name: str) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(**{name: "something else"})
    said = str(user_error(raised.value))
    assert f"unknown option: --{name}" in said
    assert "--_desc_" not in said.replace(f"--{name}", "", 1)


def test_unknown_recipe(run_bundle: Callable[..., None]) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(recipe="fast")
    assert "choose from quick, tumor, tissue, paper" in str(user_error(raised.value))


@pytest.mark.parametrize("words", [["--image_height", "None"], ["--image_height=None"]], ids=len)
def test_none_that_monai_drops_is_refused(
    run_bundle: Callable[..., None], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "training", *words, "--init_weights", "None", "--max_epochs", "1"])
    with pytest.raises(RuntimeError) as raised:
        run_bundle(run_id="check", image_height=256)
    assert "--image_height None: MONAI ignores this; write --image_height '$None'" in str(user_error(raised.value))


def test_none_where_it_changes_nothing_is_none(
    run_bundle: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tiny_dataset: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["run", "check", "--image_height", "None", "--init_weights=None", "--x", "=None"])
    run_bundle(run_id="check", dataset_dir=str(tiny_dataset), image_height="$None", max_epochs=1)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("seed", -1, "--seed -1: expected a whole number of at least 0"),
        ("seed", 1.5, "--seed 1.5: expected a whole number of at least 0"),
        ("tags", "site=a", "--tags site=a: expected a dictionary"),
    ],
)
def test_values_of_other_kinds_are_one_line(
    run_bundle: Callable[..., None], tiny_dataset: Path, option: str, value: object, message: str
) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(dataset_dir=str(tiny_dataset), **{option: value})
    assert message in str(user_error(raised.value))


def test_a_check_ends_with_wrong_options(run_bundle: Callable[..., None], tiny_dataset: Path) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(run_id="check", dataset_dir=str(tiny_dataset), image_height="abc")
    assert "1 problem found" in str(user_error(raised.value))


@pytest.mark.parametrize("name", ["resume", "verify", "force", "log_model", "system_metrics"])
def test_a_check_ends_with_a_wrong_switch(
    name: str, run_bundle: Callable[..., None], tiny_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(run_id="check", dataset_dir=str(tiny_dataset), **{name: "abc"})
    assert "problem found" in str(user_error(raised.value))
    assert f"problem  options: --{name} abc: expected true or false" in capsys.readouterr().out


def test_a_check_finds_that_no_class_is_a_lesion(run_bundle: Callable[..., None], tiny_dataset: Path) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(run_id="check", dataset_dir=str(tiny_dataset), threshold_from="validation", lesion_class="none")
    assert "1 problem found" in str(user_error(raised.value))


def test_a_patience_that_never_acts_is_noted_if_it_was_given(
    run_bundle: Callable[..., None], tiny_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"dataset_dir": str(tiny_dataset), "stages": ["front"], "max_epochs": 9, "val_interval": 3}
    note = "--patience 2 never ends these stages early: front (max_epochs 9); it counts validations"
    run_bundle(run_id="check", patience=2, **options)
    assert f"note     patience: {note}" in capsys.readouterr().out
    for given in ({"patience": 1}, {"patience": 0}, {}):  # the recipe's is 8
        run_bundle(run_id="check", **given, **options)
        assert "never ends" not in capsys.readouterr().out
    run_bundle(patience=2, **{**options, "max_epochs": 1})
    assert "\n--patience 2 never ends these stages early: front (max_epochs 1)" in capsys.readouterr().out


def test_the_number_of_epochs_of_monais_property_is_that_of_all_stages() -> None:
    config = str(ROOT / "bundles" / "fcn" / "configs" / "train.json")
    workflow = ConfigWorkflow(config, workflow_type="train", logging_file=False, max_epochs=3, stages=["fcn32", "fcn8"])
    workflow.initialize()
    assert workflow.max_epochs == 6


def test_the_number_of_epochs_of_monais_trainer_is_refused(run_bundle: Callable[..., None], tiny_dataset: Path) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(dataset_dir=str(tiny_dataset), **{"train::trainer::max_epochs": 3})
    assert "--train::trainer::max_epochs 3: give --max_epochs instead" in str(user_error(raised.value))


def test_a_data_set_is_no_place_for_a_training(run_bundle: Callable[..., None], tiny_dataset: Path) -> None:
    with pytest.raises(RuntimeError) as raised:
        run_bundle(dataset_dir=str(tiny_dataset), output_dir=str(tiny_dataset))
    assert "is a dataset folder; give another" in str(user_error(raised.value))


@pytest.mark.parametrize("recipe", ["none", [], {"a": 1}])
def test_a_recipe_that_is_none(process_state: None, recipe: Any) -> None:
    with pytest.raises(UserError, match=r"--recipe .*: unknown; choose from quick, paper"):
        begin(recipe=recipe, recipes={"quick": {}, "paper": {}})


def test_outside_a_bundle_nothing_is_checked(process_state: None) -> None:
    begin()


def test_user_errors_are_one_line_however_deep(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        try:
            raise UserError("x.png: broken")
        except UserError as inner:
            raise RuntimeError("Failed to evaluate ConfigExpression …") from inner
    except RuntimeError as error:
        readable_excepthook(type(error), error, error.__traceback__)
    assert capsys.readouterr().err == "error: x.png: broken\n"


def test_other_errors_keep_their_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        readable_excepthook(*sys.exc_info())
    assert "Traceback" in capsys.readouterr().err


def test_an_error_of_the_disk_is_one_line_however_deep(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        try:
            raise PermissionError(13, "Permission denied", "/data/mine")
        except OSError as inner:
            raise RuntimeError("Failed to evaluate ConfigExpression …") from inner
    except RuntimeError as error:
        readable_excepthook(type(error), error, error.__traceback__)
    assert capsys.readouterr().err == "error: /data/mine: Permission denied; check the disk and the permissions\n"


def test_an_error_of_the_disk_that_was_dealt_with_hides_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        try:
            raise PermissionError(13, "Permission denied", "/data/mine")
        except OSError:
            _ = 1 / 0
    except ZeroDivisionError:
        readable_excepthook(*sys.exc_info())
    assert "Traceback" in capsys.readouterr().err


def test_interruption_has_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    readable_excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert capsys.readouterr().err == "\nInterrupted.\n"


def test_an_interrupted_training_says_how_to_go_on_if_it_can(tmp_path: Path) -> None:
    output = Output(tmp_path)

    def interrupted() -> str:
        with pytest.raises(KeyboardInterrupt) as raised, resumable(output):
            raise KeyboardInterrupt
        return str(raised.value)

    assert interrupted() == ""
    output.progress.save({"epoch": 1})
    assert "--resume true" in interrupted()


def test_a_program_may_run_a_bundle_in_a_thread(process_state: None) -> None:
    """Python allows signal handlers in the main thread only."""
    errors: list[BaseException] = []

    def go() -> None:
        try:
            begin()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    assert errors == []
