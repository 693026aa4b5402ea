"""Training of a bundle, from first check to final table."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
from typing import Any

from torch.utils.data import DataLoader

from engines.base.collector import take_up
from engines.base.options import switch
from engines.base.threads import computing
from engines.records.data_record import DataGuard
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.runs.given_patience import patience_in_vain
from engines.runs.logged_model import add_models, log_network
from engines.runs.owned_run import own, resumable, tracked
from engines.runs.run_parameters import with_device
from engines.runs.score_report import Report
from engines.runs.session import describe_run
from engines.scoring.boundary_scores import BoundaryScores
from engines.scoring.confusion_files import write_split
from engines.scoring.lesions import lesion_detection
from engines.training.epoch_loader import reading
from engines.training.held_out import held_out_subjects
from engines.training.stage_lesions import stage_lesions
from engines.training.staged_training import StagedTraining
from transforms.dataset import Dataset
from transforms.dataset_check import check_dataset_for_training

logger = logging.getLogger("mammoseg")


def train(
    training: StagedTraining,
    data: Dataset,
    resume: bool = False,
    log_model: bool = False,
    held_out: DataLoader[Any] | None = None,
    force: bool = False,
    verify: bool = False,
) -> dict[str, dict[str, float]]:
    """Check the data, train every stage, and leave scores, pictures and weights on disk and in MLflow.

    Args:
        training: the stages.
        data: the data set for training and validation.
        resume: continue an interrupted training.
        log_model: also log the network as an MLflow model.
        held_out: batches of training subjects held out from training, see `engines.training.held_out`.
        force: take over an output folder locked by a process that may no longer exist, see `engines.base.lock`.
        verify: compare all images and labels with those of the interrupted training, see `engines.records.data_record`.

    Returns the scores of every row of the final table.
    """
    given = {"--resume": resume, "--log_model": log_model, "--force": force, "--verify": verify}
    resume, log_model, force, verify = (switch(value, option) for option, value in given.items())
    for warning in check_dataset_for_training(data):
        logger.warning("%s", warning)
    guard = DataGuard(data, training.output.models, verify)
    _say_what_is_trained(training, data)
    if note := patience_in_vain(training):
        logger.warning("%s", note)
    lesions = lesion_detection(data, "validation", training.settings)
    options = training.settings
    source, share, lesion = (options.get(name) for name in ("threshold_from", "threshold_share", "lesion_class"))
    kept_apart = held_out_subjects(data, source, share, training.seed, lesion)
    training.lesions = stage_lesions(lesions, options, held_out)
    measured = training.boundaries = BoundaryScores(data, "validation")
    output, tracking = training.output, training.tracking
    describe_run(tracking, data, "train")
    report = Report(data, "validation", output, tracking, [*([lesions] if lesions else []), measured])
    training.pictures = report.pictures
    with own(output.folder, tracking, force), resumable(output), reading(training.evaluator):
        output.clear_parts()
        output.check_room(training.network)
        runs = training.prepare(resume, guard)
        with computing(keep=resume), tracked(with_device(tracking, training.network), *runs):
            take_up()
            with reading(training.trainer):
                results = training.run()
            *earlier, last = results
            model = add_models(tracking, output, results)
            rows = report.write(training.evaluator, last, {name: results[name] for name in earlier})
            tracking.log_artifacts(write_split(output, data, kept_apart), "eval")
            tracking.log_artifacts(output.models / "model.pt", "models")
            tracking.log_artifacts(output.models / "model.json", "models")
            point = lesions.point if lesions else None
            log_network(training.network, tracking, {**training.settings, "operating_point": point}, model, log_model)
    _say_where(output, tracking)
    return rows


def _say_what_is_trained(training: StagedTraining, data: Dataset) -> None:
    parameters = sum(p.numel() for p in training.network.parameters())
    logger.info(
        "%s, %s parameters, on %s: %d training and %d validation images, %d classes.",
        type(training.network).__name__,
        f"{parameters:,}",
        data.name,
        data.count("training"),
        data.count("validation"),
        data.num_classes,
    )
    if training.settings.get("recipe") == "paper" and not training.settings.get("init_weights"):
        logger.info("The paper starts from ImageNet weights: give --init_weights a file of them to do so (README).")


def _say_where(output: Output, tracking: Tracking) -> None:
    logger.info("weights   %s", output.models / "model.pt")
    logger.info("pictures  %s", output.panels)
    logger.info("tables    %s", output.eval)
    if tracking.enabled and not tracking.failed:
        quote = subprocess.list2cmdline if os.name == "nt" else shlex.join
        uri = quote([tracking.tracking_uri])
        logger.info("run       mlflow ui --backend-store-uri %s   (run %s)", uri, tracking.run_id)
        if tracking.model_id is not None:
            logger.info("model     models:/%s", tracking.model_id)
