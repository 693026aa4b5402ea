"""Score trained weights on whole images of a dataset folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from monai.engines import Evaluator

from engines.base.machine_errors import one_line
from engines.base.options import switch
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.runs.session import running_rows
from engines.runs.train import own, report, tracked
from engines.scoring.lesions import LesionDetection, lesion_classes
from engines.scoring.surface_distance import SurfaceDistance
from transforms.dataset import SECTIONS, Dataset
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")


def evaluate(
    evaluator: Evaluator,
    data: Dataset,
    section: str,
    settings: Mapping[str, Any],
    output: Output,
    tracking: Tracking,
    lesion: str | Sequence[str] | None = None,
    surface_distance: bool = False,
    force: bool = False,
) -> dict[str, dict[str, float]]:
    """Print, write and log the scores on one section of a data set, per subject and in all.

    Args:
        evaluator: runs the network with the weights over the section.
        data: the data set.
        section: training, validation or test.
        settings: of the training that the weights are from.
        output: where tables and pictures go.
        tracking: the MLflow run.
        lesion: the class, or classes, whose lesions are counted, see `lesion_classes`.
        surface_distance: also measure the distances of the outlines; slow.
        force: see `engines.runs.train.train`.

    Raises:
        UserError: the data set's classes are not those the weights were trained with, a label is missing or wrong, or
            there is no such class of lesions.
    """
    _check(data, section, settings)
    more = _more(data, section, lesion, surface_distance)
    for handler in more:
        handler.attach(evaluator)
    stage = str(settings["stage"])
    tracking.rows = running_rows()
    tracking.tags.update(tracking.row_tags(stage), kind="evaluation", stage=stage, section=section)
    with own(output.eval, tracking, switch(force, "--force"), "evaluation"), tracked(tracking), one_line(output.eval):
        output.clear_parts()
        tracking.start()
        tracking.log_artifacts(output.write_config({**tracking.params, "trained_with": dict(settings)}), "eval")
        rows = report(evaluator, stage, data, section, output, tracking)
        for handler in more:
            logger.info("%s", handler.write(output, tracking))
    logger.info("tables    %s", output.eval)
    logger.info("pictures  %s", output.panels)
    return rows


def _check(data: Dataset, section: str, settings: Mapping[str, Any]) -> None:
    """Raise UserError unless the section can be scored with the weights."""
    trained = [settings["labels"][key] for key in sorted(settings["labels"], key=int)]
    if trained != data.class_names:
        raise UserError(
            f"{data.root}: its classes are {', '.join(data.class_names)}; "
            f"the weights were trained with {', '.join(trained)}; prepare the data set with those"
        )
    if not data.items(section):
        raise UserError(f"--section {section}: {data.root} has no image in it; there are {_sections(data)}")
    data.check_labels(data.items(section))
    if settings.get("dataset") == data.name and settings.get("split_digest") != data.split_digest:
        logger.warning(
            "%s is split otherwise than when these weights were trained: they may know some of the subjects.",
            data.name,
        )


def _more(
    data: Dataset, section: str, lesion: str | Sequence[str] | None, surface_distance: bool
) -> list[LesionDetection | SurfaceDistance]:
    """What is measured besides the confusion matrix."""
    handlers: list[LesionDetection | SurfaceDistance] = []
    numbers = lesion_classes(data.class_names, lesion)
    if numbers:
        handlers.append(LesionDetection(numbers, data.class_names))
    names = ", ".join(data.class_names[number] for number in numbers)
    by = "by name" if lesion is None else "by --lesion_class"
    logger.info("lesions   %s (%s); other classes: --lesion_class", names or "no class", by)
    if switch(surface_distance, "--surface_distance"):
        spacing = {item["case"]: item["spacing_mm"] for item in data.items(section)}
        handlers.append(SurfaceDistance(data.class_names, spacing))
    return handlers


def _sections(data: Dataset) -> str:
    return ", ".join(f"{len(data.items(name))} in {name}" for name in SECTIONS)
