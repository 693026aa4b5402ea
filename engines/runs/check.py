"""`run check`: all checks that can be made before the first epoch, one line each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engines.base.machine_errors import explain
from engines.base.options import check_options, switch
from engines.records.output_folder import Output
from engines.runs.given_patience import patience_in_vain
from engines.runs.session import running_workflow
from engines.scoring.lesions import lesion_detection
from engines.training.stage_lesions import stage_lesions
from transforms.dataset_check import check_dataset_for_training
from transforms.errors import UserError, user_error

logger = logging.getLogger("mammoseg")

OF_A_RUN = ("resume", "verify", "force", "log_model", "system_metrics")
"""Options that are true or false and say how a training runs, not what it is; so they are not in `options`."""

PARTS = (
    "data",
    "network",
    "loss_function",
    "optimizer",
    "train::dataset",
    "validate::dataset",
    "train::trainer",
    "train::stages",
)
"""Config keys, each after those it depends on."""


def check() -> None:
    """Build every part of the running config, check the labels, pass one batch and one whole image through the network.

    Prints one line per part; a problem's line starts with the config key it belongs to.

    Raises:
        UserError: states the number of problems found.
    """
    workflow = running_workflow()
    if workflow is None:
        raise UserError("check is a run id of a bundle: python -m monai.bundle run check --config_file …/train.json")
    parsed: dict[str, Any] = {}
    problems = 0
    for key, step in _steps(workflow.parser.get_parsed_content, parsed):
        try:
            logger.info("ok       %s: %s", key, step())
        except Exception as error:
            problems += 1
            logger.info("problem  %s: %s", key, reason(error))
    if problems:
        raise UserError(f"{problems} problem{'s' if problems > 1 else ''} found, see above")
    logger.info("ready to train")


def _steps(get: Callable[[str], Any], parsed: dict[str, Any]) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield (config key, action), each depending on those before it."""

    def build(key: str) -> str:
        parsed[key] = get(key)
        return type(parsed[key]).__name__

    yield "options", lambda: _options(get, parsed)
    for key in PARTS if "options" in parsed else PARTS[:1]:  # report a wrong option once
        yield key, lambda key=key: build(key)  # type: ignore[misc]
        if key not in parsed:
            return  # the following steps would only repeat this problem
        if key == "data":
            yield "dataset_dir", lambda: _labels(parsed["data"])
    if "options" not in parsed:
        return
    if note := patience_in_vain(parsed["train::stages"]):
        logger.warning("note     patience: %s", note)
    yield "lesion_class", lambda: _lesions(parsed)
    yield "output_dir", lambda: _room(get("output"), parsed["network"])
    yield "train::dataloader", lambda: _forward(parsed)
    yield "validate::dataloader", lambda: _whole_image(get("validate::evaluator"), parsed)


def _options(get: Callable[[str], Any], parsed: dict[str, Any]) -> str:
    options = get("options")
    check_options(options)
    for name in OF_A_RUN:
        switch(get(name), f"--{name}")
    parsed["options"] = options
    return f"{len(options)} options"


def _lesions(parsed: dict[str, Any]) -> str:
    options = parsed["train::stages"].settings
    lesions = lesion_detection(parsed["data"], "validation", options)
    stage_lesions(lesions, options, ())
    return ", ".join(lesions.result.classes) if lesions else "none of the classes is a lesion"


def _labels(data: Any) -> str:
    for warning in check_dataset_for_training(data):
        logger.warning("%s", warning)
    number = data.count("training") + data.count("validation")
    return f"{number} labels hold only {', '.join(data.class_names)}"


def _room(output: Output, network: nn.Module) -> str:
    output.check_room(network)
    return "can be written to"


def _forward(parsed: dict[str, Any]) -> str:
    """Pass one batch of crops of the first stage through network and loss."""
    stages, trainer = parsed["train::stages"], parsed["train::trainer"]
    stages.dataset.set_crop_size(stages.plan[0].crop_size)
    batch = next(iter(trainer.data_loader))
    with torch.no_grad():
        logits = trainer.inferer(batch["image"].to(trainer.state.device), parsed["network"])
        loss = trainer.loss_function(logits, batch["label"].to(logits.device))
    expected = (len(batch["label"]), parsed["data"].num_classes, *batch["label"].shape[-2:])
    if tuple(logits.shape) != expected:
        raise UserError(f"the network turns {tuple(batch['image'].shape)} into {tuple(logits.shape)}, not {expected}")
    return f"images {tuple(batch['image'].shape)} → logits {tuple(logits.shape)}, loss {float(loss):.3f}"


def _whole_image(evaluator: Any, parsed: dict[str, Any]) -> str:
    """Pass the whole first validation image through the network, as validation does."""
    image = next(iter(evaluator.data_loader))["image"]
    network = parsed["network"]
    trained = network.training
    network.eval()
    try:
        with torch.no_grad():
            logits = evaluator.inferer(image.to(evaluator.state.device), network)
    finally:
        network.train(trained)
    expected = (1, parsed["data"].num_classes, *image.shape[-2:])
    if tuple(logits.shape) != expected:
        raise UserError(f"the network turns {tuple(image.shape)} into {tuple(logits.shape)}, not {expected}")
    return f"whole image {tuple(image.shape)} → logits {tuple(logits.shape)}"


def reason(error: BaseException) -> str:
    """Return the innermost cause of an error on one line."""
    cause: BaseException = user_error(error) or error
    told = None if isinstance(cause, UserError) else explain(error, Path("."))
    if told is not None:
        return told
    while not isinstance(cause, UserError) and cause.__cause__ is not None:
        cause = cause.__cause__
    text = " ".join(str(cause).split())
    return text if isinstance(cause, UserError) else f"{type(cause).__name__}: {text}"
