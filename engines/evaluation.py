"""Score trained weights on whole images of a dataset folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from monai.engines import Evaluator

from engines.output import Output
from engines.tracking import Tracking
from engines.training import report, tracked
from transforms.dataset import SECTIONS, Dataset
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")


def evaluate(
    evaluator: Evaluator, data: Dataset, section: str, settings: Mapping[str, Any], output: Output, tracking: Tracking
) -> dict[str, dict[str, float]]:
    """Print, write and log the scores on one section of a data set, per subject and in all.

    Raises:
        UserError: the data set's classes are not those the weights were trained with, or a label is missing or wrong.
    """
    trained = [settings["labels"][key] for key in sorted(settings["labels"], key=int)]
    if trained != data.class_names:
        raise UserError(
            f"{data.root}: its classes are {', '.join(data.class_names)}; "
            f"the weights were trained with {', '.join(trained)}; prepare the data set with those"
        )
    if not data.items(section):
        raise UserError(f"--section {section}: {data.root} has no image in it; there are {_sections(data)}")
    data.check_labels(data.items(section))
    with tracked(tracking):
        tracking.start()
        rows = report(evaluator, str(settings["stage"]), data, section, output, tracking)
    logger.info("tables    %s", output.eval)
    logger.info("pictures  %s", output.panels)
    return rows


def _sections(data: Dataset) -> str:
    return ", ".join(f"{len(data.items(name))} in {name}" for name in SECTIONS)
