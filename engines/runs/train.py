"""A bundle's training from first check to final table."""

from __future__ import annotations

import logging
import os
import platform
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from engines.base.distributed import is_main
from engines.base.lock import locked
from engines.base.loss_parameters import flat_parameters
from engines.base.machine_errors import errors_in_one_line
from engines.base.options import switch
from engines.base.paths import project_root
from engines.inference.finite import naming_case
from engines.records.data_record import DataGuard
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.panels import PanelSaver
from engines.records.predictions import SamplePredictions
from engines.records.score_table import class_table, score_table
from engines.runs.logged_model import log_network
from engines.runs.session import running_rows
from engines.scoring.confusion_files import identity, write_evidence, write_split
from engines.scoring.lesions import LesionDetection, lesion_detection
from engines.scoring.metrics import scores, trivial_scores
from engines.scoring.surface_distance import SurfaceDistance
from engines.training.held_out import held_out_subjects
from engines.training.losses import SegmentationLoss
from engines.training.stage_lesions import stage_lesions
from engines.training.staged_training import StagedTraining
from transforms.dataset import Dataset
from transforms.dataset_check import check_dataset_for_training

logger = logging.getLogger("mammoseg")

TRIVIAL = "all background"
PACKAGES = ("torch", "monai", "pytorch-ignite", "mlflow")


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
        data: the data set that it trains and validates on.
        resume: go on with an interrupted training.
        log_model: also log the network as an MLflow model.
        held_out: batches of the training subjects that are not trained with, see `engines.training.held_out`.
        force: take an output folder that is locked by a process which may not exist any more, see `engines.base.lock`.
        verify: compare all images and labels with those of the interrupted training, see `engines.records.data_record`.

    Returns the scores of every row of the final table.
    """
    given = {"--resume": resume, "--log_model": log_model, "--force": force, "--verify": verify}
    resume, log_model, force, verify = (switch(value, option) for option, value in given.items())
    for warning in check_dataset_for_training(data):
        logger.warning("%s", warning)
    guard = DataGuard(data, training.output.models, verify)
    _say_what_is_trained(training, data)
    lesions = lesion_detection(data, "validation", training.settings)
    options = training.settings
    kept_apart = held_out_subjects(data, options.get("threshold_from"), options.get("threshold_share"), training.seed)
    training.lesions = stage_lesions(lesions, options, held_out)
    training.tracking.rows = running_rows()
    with own(training.output.folder, training.tracking, force), tracked(training.tracking), resumable(training.output):
        training.output.clear_parts()
        training.output.check_room(training.network)
        results = training.run(resume, guard)
        *earlier, last = results
        rows = report(
            training.evaluator,
            last,
            data,
            "validation",
            training.output,
            training.tracking,
            earlier={name: results[name] for name in earlier},
            more=[lesions] if lesions else [],
        )
        training.tracking.log_artifacts(write_split(training.output, data, kept_apart), "eval")
        training.tracking.log_artifacts(training.output.models / "model.pt", "models")
        training.tracking.log_artifacts(training.output.models / "model.json", "models")
        if log_model:
            point = lesions.point if lesions else None
            log_network(training.network, training.tracking, {**training.settings, "operating_point": point})
    _say_where(training.output, training.tracking)
    return rows


@contextmanager
def own(folder: Path, tracking: Tracking, force: bool = False, task: str = "training") -> Iterator[None]:
    """Lock an output folder; end the MLflow runs of a process that was killed while it had it.

    Raises:
        UserError: another process is at work in it.
    """
    if not is_main():
        yield
        return
    with locked(folder, task, "--output_dir", force, tracking.store_record()) as lock:
        tracking.set_lock(lock.token)
        if lock.left is not None:
            tracking.end_left(lock.left)
        yield


@contextmanager
def tracked(tracking: Tracking) -> Iterator[None]:
    """Finish the MLflow run as FINISHED, KILLED (Ctrl-C, SIGTERM) or FAILED (anything else)."""
    try:
        yield
    except KeyboardInterrupt:
        tracking.end("KILLED")
        raise
    except BaseException:
        tracking.end("FAILED")
        raise
    tracking.end("FINISHED")


@contextmanager
def resumable(output: Output) -> Iterator[None]:
    """Have an interruption, a full disk and the like say how to go on, if there is something to go on from."""
    try:
        hint = "--resume true continues after the last saved epoch"
        with errors_in_one_line(output.folder, lambda: hint if output.progress.exists() else ""):
            yield
    except KeyboardInterrupt:
        words = ["To go on: the same command with --resume true"] if output.progress.exists() else []
        raise KeyboardInterrupt(*words) from None


def report(
    evaluator: Any,
    name: str,
    data: Dataset,
    section: str,
    output: Output,
    tracking: Tracking,
    earlier: Mapping[str, Mapping[str, float]] | None = None,
    more: Sequence[LesionDetection | SurfaceDistance] = (),
) -> dict[str, dict[str, float]]:
    """Run the evaluator on its weights; print, write and log the table, per-subject scores and pictures.

    Args:
        name: what to call the weights' row.
        section: the part of the data set that the evaluator runs over.
        earlier: rows known already, shown above it.
        more: handlers that measure something else.

    Returns the scores of every row.
    """
    output.clear_panels()
    samples = SamplePredictions(data.num_classes)
    for handler in (PanelSaver(output.panels, data.class_names), samples, *more):
        handler.attach(evaluator)
    with naming_case(evaluator):
        evaluator.run()
    per_subject = evaluator.state.metric_details["confusion"]
    evidence = write_evidence(output, name, per_subject, identity(data), section)
    samples.write(output.predictions, name)
    rows = {TRIVIAL: trivial_scores(per_subject, data.class_names)}
    rows.update({row: dict(values) for row, values in (earlier or {}).items()})
    final = rows[name] = dict(evaluator.state.metrics)
    for measured in more:
        final.update(measured.scores())
        if isinstance(measured, LesionDetection) and measured.decision is not None:
            decided = np.sum(list(measured.decided.values()), axis=0)
            rows[f"{name}, threshold {measured.decision.threshold:g}"] = scores(decided, data.class_names)
            tracking.log_metrics(scores(decided, data.class_names), step=0, prefix="at_threshold/")
    subjects = [{"subject": s, **scores(m, data.class_names)} for s, m in sorted(per_subject.items())]
    tables = [
        output.write_table("subjects", subjects),
        output.write_table("scores", [{"model": row, **values} for row, values in rows.items()]),
    ]
    title = f"Scores on the {len(per_subject)} {section} subjects of {data.name}, per cent"
    logger.info("\n%s\n\n%s\n", score_table(rows, title), class_table(final))
    for measured in more:
        logger.info("%s\n", measured.write(output, tracking, name))
    tracking.log_metrics(final, step=0)
    tracking.log_metrics({k: v for k, v in rows[TRIVIAL].items() if "/" not in k}, step=0, prefix="all_background/")
    for path in (*tables, *evidence, output.epochs_file):
        tracking.log_artifacts(path, "eval")
    tracking.log_artifacts(output.predictions, "eval/predictions")
    tracking.log_artifacts(output.panels, "panels")
    return rows


def run_parameters(
    network: nn.Module, data: Dataset, knobs: Mapping[str, Any], loss: SegmentationLoss | None = None
) -> dict[str, Any]:
    """The flat parameters of an MLflow run: knobs, network, data set, software, and the loss that is trained with."""
    return {
        **{key: value for key, value in knobs.items() if value is not None},
        "network": type(network).__name__,
        "parameters": sum(p.numel() for p in network.parameters()),
        **{key: value for key, value in identity(data).items() if key != "labels"},
        "classes": ", ".join(data.class_names),
        **({} if loss is None else flat_parameters(loss.parameters_used)),
        "device": _device(network),
        "git_commit": git_commit(project_root()),
        "versions": ", ".join([f"python {platform.python_version()}", *(f"{n} {version(n)}" for n in PACKAGES)]),
    }


def _device(network: nn.Module) -> str:
    """What it is trained on; the number of threads changes the rounding of sums."""
    device = next(network.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    return f"{device.type} ({name})"


def settings(data: Dataset, knobs: Mapping[str, Any], loss: SegmentationLoss | None = None) -> dict[str, Any]:
    """Plain values stored beside the weights: with them evaluation and inference rebuild network and input."""
    return {
        **knobs,
        **({} if loss is None else {"loss_parameters": loss.parameters_used}),
        "ignore_label": data.ignore_label,
        "windowing": data.windowing,
        "flip": data.flip,
        "colour": data.colour,
        "source_values": data.source_values,
        "intensity_ranges": data.intensity_ranges,
        "licence": data.content.get("licence", ""),
        "reference": data.content.get("reference", ""),
        **identity(data),
    }


def git_commit(folder: Path) -> str:
    """Commit of the checkout the code lies in; `unknown` where there is none."""
    if not (folder / ".git").exists():  # a shared bundle; git would look further up and name someone else's commit
        return "unknown"
    try:
        command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _say_what_is_trained(training: StagedTraining, data: Dataset) -> None:
    parameters = sum(p.numel() for p in training.network.parameters())
    logger.info(
        "%s, %s parameters, on %s: %d training and %d validation images, %d classes.",
        type(training.network).__name__,
        f"{parameters:,}",
        data.name,
        len(data.items("training")),
        len(data.items("validation")),
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
