"""Score trained weights on whole images of a dataset folder."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.engines import Evaluator

from engines.base.collector import take_up
from engines.base.machine_errors import errors_in_one_line
from engines.base.options import switch
from engines.base.paths import as_path
from engines.base.threads import computing
from engines.inference.finite import naming_case
from engines.records.attributes import Attributes, check_known, dataset_attributes, read_attributes
from engines.records.ensemble_members import Trained, ensemble_tags, trained_members
from engines.records.evaluation_record import ensemble_record, evaluation_output, training_record, write_evaluation
from engines.records.mlflow_models import link_models
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.seen_subjects import check_unseen, warn_of_seen
from engines.runs.owned_run import own, tracked
from engines.runs.run_parameters import with_device
from engines.runs.score_report import Report
from engines.runs.session import describe_run
from engines.scoring.boundary_scores import BoundaryScores
from engines.scoring.confusion_files import identity
from engines.scoring.counting_options import tell_lesions, tell_rule
from engines.scoring.group_tests import group_tests, shown_tests
from engines.scoring.groups import SIZE, groups, sentences
from engines.scoring.lesions import LesionDetection, lesion_detection
from engines.scoring.operating_point import decision_of, min_score_of
from engines.scoring.single_pass import run_once
from transforms.dataset import SECTIONS, Dataset
from transforms.decision import Decision
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")


def evaluate(
    evaluator: Evaluator,
    data: Dataset,
    section: str,
    settings: Mapping[str, Any],
    output: Output,
    tracking: Tracking,
    lesions: Mapping[str, Any] | None = None,
    surface_distance: bool = True,
    spacing: Any = None,
    weights: str | Path | None = None,
    force: bool = False,
    members: Any = None,
) -> dict[str, dict[str, float]]:
    """Print, write and log the scores on one section of a data set, per subject and in total.

    Args:
        evaluator: runs the network with the weights over the section.
        data: the data set.
        section: training, validation, test or all.
        settings: settings of the training that produced the weights.
        output: output folder of the training; tables and pictures go to its `eval/<dataset>-<section>`.
        tracking: the MLflow run.
        lesions: options for counting lesions: `lesion_class`, `hit`, `min_lesion_size`, `min_lesion_score`, see
            `lesion_detection`; `threshold`, see `decision_of`; and `attributes`, a table of attributes for grouping
            images, see `read_attributes`. Also `tolerance` for boundaries.
        surface_distance: also measure the boundaries.
        spacing: (row, column) pixel size in mm, or one number, for images without one.
        weights: the file of the weights.
        force: see `engines.runs.owned_run.own`.
        members: members of an ensemble, see `trained_members`; None for one network.

    Raises:
        UserError: the data set's classes differ from those of the weights, a label is missing or wrong, an option is
            wrong, or a member of an ensemble was trained on a scored subject.
    """
    _check(data, section, settings)
    trained = trained_members(members) if members else []
    check_unseen(trained, data, section)
    if weights and not trained:
        warn_of_seen(as_path(weights).parent, data, section)
    attributes = _attributes(data, section, (lesions or {}).get("attributes"))
    more = _more(data, section, lesions or {}, surface_distance, spacing, settings)
    for handler in more:
        if isinstance(handler, LesionDetection):
            handler.set_point(*_point(handler, settings, (lesions or {}).get("threshold")))
            handler.attributes = attributes
    stage = str(settings["stage"])
    training = ensemble_record(trained) if trained else training_record(settings, as_path(weights) if weights else None)
    digests = [record["weights_sha256"] for record in training.get("members", [])]
    output = evaluation_output(output, data.name, section, data.digest, digests)
    counted = [handler.about_rule for handler in more if isinstance(handler, LesionDetection)]
    record = {
        "training": training,
        "data": {**identity(data), "section": section},
        "lesions": next(iter(counted), None),
    }
    describe_run(tracking, data, "evaluate")
    _tell(tracking, record, stage)
    if trained:
        _tell_members(tracking, trained, training["members"])
    owned = own(output.eval, tracking, switch(force, "--force"), "evaluation")
    with owned, computing(), tracked(with_device(tracking, evaluator.network)), errors_in_one_line(output.eval):
        take_up()
        output.clear_parts()
        link_models(tracking, training.get("members") or [training])
        tracking.log_artifacts(write_evaluation(output, record), "eval")
        tracking.log_artifacts(output.write_config({**tracking.params, "trained_with": dict(settings)}), "eval")
        report = Report(data, section, output, tracking, more)
        with naming_case(evaluator):
            run_once(evaluator, report.handlers)
        rows = report.write(evaluator, stage)
        _write_groups(more, attributes, output, tracking)
    logger.info("tables    %s", output.eval)
    logger.info("pictures  %s", output.panels)
    return rows


def _attributes(data: Dataset, section: str, given: str | Path | None) -> Attributes:
    """Return the attributes of the images from dataset.json and from a table."""
    known = dataset_attributes(data)
    if given is None:
        return known
    attributes = read_attributes(as_path(given))
    images = ((item["subject"], item["case"]) for item in data.items(section))
    check_known(attributes, images, f"the {section} section of {data.name}")
    return attributes.over(known)


def _write_groups(handlers: Sequence[Any], attributes: Attributes, output: Output, tracking: Tracking) -> None:
    """Write lesion scores by group to the log, groups.csv and MLflow."""
    for detection in handlers:
        if not isinstance(detection, LesionDetection):
            continue
        names = (*attributes.names, SIZE)
        found = groups(detection.images, attributes.of, names)
        tests = group_tests([detection.images], attributes.of, names)
        if found:
            tracking.log_artifacts(output.write_table("groups", [group.record() for group in found]), "eval")
            logger.info("Lesions by group, per cent\n\n%s\n", "\n".join(sentences(found)))
        if tests:
            tracking.log_artifacts(output.write_table("group_tests", [test.record() for test in tests]), "eval")
            logger.info("%s\n", "\n".join(shown_tests(tests)))


def _tell(tracking: Tracking, record: Mapping[str, Any], stage: str) -> None:
    """Record in the log and in the MLflow run's tags and parameters what is evaluated."""
    training, data = record["training"], record["data"]
    digest = training["weights_sha256"] or ""
    tracking.tags.update(tracking.row_tags(stage), kind="evaluation", stage=stage)
    tracking.tags.update(section=data["section"], dataset=data["dataset"])
    tags = {"training_run_id": training["run_id"], "weights_sha256": digest}
    if record["lesions"] is not None:
        tags["lesion_class"] = ", ".join(record["lesions"]["classes"])
    tracking.tags.update({key: str(value) for key, value in tags.items() if value})
    options = {key: value for key, value in training["options"].items() if value is not None}
    tracking.params = {**options, "trained_on": training["dataset"], **tracking.params}
    logger.info(
        "weights   stage %s, epoch %s, of run %s: recipe %s, seed %s, trained on %s; SHA-256 %s",
        *(stage, training["epoch"], training["run_id"] or "unknown", training["recipe"], training["seed"]),
        *(training["dataset"], digest[:12] or "unknown"),
    )
    logger.info("data      %s of %s (digest %s)", data["section"], data["dataset"], data["dataset_digest"][:12])


def _tell_members(tracking: Tracking, members: Sequence[Trained], records: Sequence[Mapping[str, Any]]) -> None:
    """Record the same for each member of an ensemble."""
    tracking.tags.update(ensemble_tags(members))
    digest = hashlib.sha256("".join(record["weights_sha256"] for record in records).encode()).hexdigest()
    tracking.tags.update(members=str(len(members)), members_sha256=digest)
    tracking.params = {key: value for key, value in tracking.params.items() if key != "width"}
    for member, record in zip(members, records, strict=True):
        logger.info(
            "member    %s, %s rows, of run %s; SHA-256 %s",
            *(member.title, record["options"]["image_height"] or "all", record["run_id"] or "unknown"),
            record["weights_sha256"][:12],
        )


def _check(data: Dataset, section: str, settings: Mapping[str, Any]) -> None:
    """Raise UserError unless the section can be scored with the weights."""
    trained = [settings["labels"][key] for key in sorted(settings["labels"], key=int)]
    if trained != data.class_names:
        raise UserError(
            f"{data.root}: its classes are {', '.join(data.class_names)}; "
            f"the weights were trained with {', '.join(trained)}; prepare the data set with those"
        )
    if not data.items(section):
        raise UserError(f"--section {section}: {data.root} has no image in it; it has {_sections(data)}")
    data.check_labels(data.items(section))
    if settings.get("dataset") == data.name and settings.get("split_digest") != data.split_digest:
        logger.warning(
            "%s has a different split than at training time: some subjects may have been trained on.",
            data.name,
        )


def _point(
    handler: LesionDetection, settings: Mapping[str, Any], threshold: Any
) -> tuple[Decision | None, dict[str, Any] | None]:
    """Return how the mask is decided, and its record: the stored operating point, or the given threshold."""
    decision = decision_of(settings, threshold, handler.lesions)
    stored = settings.get("operating_point") or {}
    if decision is None:
        return None, None
    if threshold is None:
        by_hand = {"min_lesion_score": min_score_of(settings), "rule": "as given", "chosen_on": "unknown subjects"}
        return decision, {**stored, **{key: stored.get(key, value) for key, value in by_hand.items()}}
    about = {"rule": "as given", "chosen_on": "the command line", "subjects": 0}
    classes = list(handler.result.classes)
    point = {"threshold": decision.threshold, "min_lesion_score": decision.threshold, "lesion_classes": classes}
    return decision, {**point, **about}


def _more(
    data: Dataset,
    section: str,
    options: Mapping[str, Any],
    surface_distance: bool,
    spacing: Any,
    settings: Mapping[str, Any],
) -> list[LesionDetection | BoundaryScores]:
    """Return the handlers of what is measured besides the confusion matrix."""
    counted = lesion_detection(data, section, options, spacing)
    handlers: list[LesionDetection | BoundaryScores] = [] if counted is None else [counted]
    tell_lesions(settings, options.get("lesion_class"), () if counted is None else counted.result.classes)
    if counted is not None:
        tell_rule(settings, options, counted.rule)
    if switch(surface_distance, "--surface_distance"):
        handlers.append(BoundaryScores(data, section, options.get("tolerance"), spacing))
    return handlers


def _sections(data: Dataset) -> str:
    return ", ".join(f"{data.count(name)} in {name}" for name in SECTIONS)
