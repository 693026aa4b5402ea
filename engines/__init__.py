"""Stages, metrics, tracking and reports: the layer between data and networks.

Names are imported on first use, so that code that needs a path does not wait for MLflow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.base.devices import check_device
    from engines.base.distributed import local_device
    from engines.base.loading import on_gpu, overlapping_threads, reading_processes
    from engines.base.memory_layout import placed
    from engines.base.options import check_options, checked_tags, choose, switch
    from engines.base.paths import as_path, bundle_root, project_root
    from engines.base.precision import precision_of, precision_on
    from engines.base.world import rank, shard, world_size
    from engines.inference.ensemble import Disagreement
    from engines.inference.inferers import MirrorAveraging, PaddedInferer
    from engines.inference.tiling.tiled_inferer import TiledInferer
    from engines.inference.whole_image import WholeImageInferer, labels_alone
    from engines.records.ensemble_members import ensemble_settings, member_files
    from engines.records.mlflow_run import Tracking
    from engines.records.mlflow_store import environment
    from engines.records.output_folder import Output
    from engines.records.stage_tracking import StageTrackingHandler
    from engines.records.trained_model import load_settings, weights_file
    from engines.runs.build_ensemble import ensemble
    from engines.runs.check import check
    from engines.runs.evaluate import evaluate
    from engines.runs.infer import ReadableImages, find_images, infer
    from engines.runs.run_parameters import run_parameters, settings
    from engines.runs.session import begin
    from engines.runs.train import train
    from engines.scoring.counting_options import counting_option, lesions_of, tell_lesions
    from engines.scoring.lesion_classes import classes_but_lesions
    from engines.scoring.metrics import confusion_matrix, scores
    from engines.scoring.operating_point import decision_of, min_score_of
    from engines.scoring.subject_confusion import SubjectConfusion
    from engines.training.accumulation import BatchGradients
    from engines.training.class_weights import class_weights, lesion_weights
    from engines.training.epoch_loader import EpochLoader
    from engines.training.epochs import EpochDataset, EpochSampler
    from engines.training.held_out import held_out_items, training_items
    from engines.training.losses import FocalTversky, TopKCrossEntropy, WeightedCrossEntropy, WeightedFocal
    from engines.training.plan import Stage, at_stage, plan
    from engines.training.sampling import ClassSampling
    from engines.training.staged_training import StagedTraining
    from engines.training.step_memory import micro_batch_size
    from engines.training.training_progress import TrainingProgress

_MODULES = {
    "base.devices": "check_device",
    "base.distributed": "local_device",
    "base.loading": "on_gpu overlapping_threads reading_processes",
    "base.memory_layout": "placed",
    "base.options": "check_options checked_tags choose switch",
    "base.paths": "as_path bundle_root project_root",
    "base.precision": "precision_of precision_on",
    "base.world": "rank shard world_size",
    "inference.ensemble": "Disagreement",
    "inference.inferers": "MirrorAveraging PaddedInferer",
    "inference.tiling.tiled_inferer": "TiledInferer",
    "inference.whole_image": "WholeImageInferer labels_alone",
    "records.ensemble_members": "ensemble_settings member_files",
    "records.mlflow_run": "Tracking",
    "records.mlflow_store": "environment",
    "records.output_folder": "Output",
    "records.stage_tracking": "StageTrackingHandler",
    "records.trained_model": "load_settings weights_file",
    "runs.build_ensemble": "ensemble",
    "runs.check": "check",
    "runs.evaluate": "evaluate",
    "runs.infer": "ReadableImages find_images infer",
    "runs.session": "begin",
    "runs.run_parameters": "run_parameters settings",
    "runs.train": "train",
    "scoring.counting_options": "counting_option lesions_of tell_lesions",
    "scoring.lesion_classes": "classes_but_lesions",
    "scoring.metrics": "confusion_matrix scores",
    "scoring.subject_confusion": "SubjectConfusion",
    "training.accumulation": "BatchGradients",
    "training.class_weights": "class_weights lesion_weights",
    "training.training_progress": "TrainingProgress",
    "training.epoch_loader": "EpochLoader",
    "training.epochs": "EpochDataset EpochSampler",
    "training.losses": "FocalTversky TopKCrossEntropy WeightedCrossEntropy WeightedFocal",
    "scoring.operating_point": "decision_of min_score_of",
    "training.held_out": "held_out_items training_items",
    "training.plan": "Stage at_stage plan",
    "training.sampling": "ClassSampling",
    "training.staged_training": "StagedTraining",
    "training.step_memory": "micro_batch_size",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = [
    "BatchGradients",
    "ClassSampling",
    "Disagreement",
    "EpochDataset",
    "EpochLoader",
    "EpochSampler",
    "FocalTversky",
    "MirrorAveraging",
    "Output",
    "PaddedInferer",
    "ReadableImages",
    "Stage",
    "StageTrackingHandler",
    "StagedTraining",
    "SubjectConfusion",
    "TiledInferer",
    "TopKCrossEntropy",
    "Tracking",
    "TrainingProgress",
    "WeightedCrossEntropy",
    "WeightedFocal",
    "WholeImageInferer",
    "as_path",
    "at_stage",
    "begin",
    "bundle_root",
    "check",
    "check_device",
    "check_options",
    "checked_tags",
    "choose",
    "class_weights",
    "classes_but_lesions",
    "confusion_matrix",
    "counting_option",
    "decision_of",
    "ensemble",
    "ensemble_settings",
    "environment",
    "evaluate",
    "find_images",
    "held_out_items",
    "infer",
    "labels_alone",
    "lesion_weights",
    "lesions_of",
    "load_settings",
    "local_device",
    "member_files",
    "micro_batch_size",
    "min_score_of",
    "on_gpu",
    "overlapping_threads",
    "placed",
    "plan",
    "precision_of",
    "precision_on",
    "project_root",
    "rank",
    "reading_processes",
    "run_parameters",
    "scores",
    "settings",
    "shard",
    "switch",
    "tell_lesions",
    "train",
    "training_items",
    "weights_file",
    "world_size",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'engines' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"engines.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
