"""What stands between data and networks: stages, metrics, tracking, reports."""

from engines.checks import check
from engines.distributed import local_device, rank, shard, world_size
from engines.epochs import EpochDataset
from engines.evaluation import evaluate
from engines.inference import ReadableImages, find_images, infer
from engines.inferers import MirrorAveraging, PaddedInferer
from engines.knobs import check_knobs, choose, switch
from engines.losses import WeightedCrossEntropy
from engines.metrics import SubjectConfusion, confusion_matrix, scores
from engines.output import Output, load_settings, weights_file
from engines.places import as_path, bundle_root, project_root
from engines.plan import Stage, at_stage, plan
from engines.progress import TrainingProgress
from engines.session import begin
from engines.stages import StagedTraining
from engines.tiling import TiledInferer
from engines.tracking import StageTrackingHandler, Tracking
from engines.training import run_parameters, settings, train
from engines.whole_image import WholeImageInferer, labels_alone

__all__ = [
    "EpochDataset",
    "MirrorAveraging",
    "Output",
    "PaddedInferer",
    "ReadableImages",
    "Stage",
    "StageTrackingHandler",
    "StagedTraining",
    "SubjectConfusion",
    "TiledInferer",
    "Tracking",
    "TrainingProgress",
    "WeightedCrossEntropy",
    "WholeImageInferer",
    "as_path",
    "at_stage",
    "begin",
    "bundle_root",
    "check",
    "check_knobs",
    "choose",
    "confusion_matrix",
    "evaluate",
    "find_images",
    "infer",
    "labels_alone",
    "load_settings",
    "local_device",
    "plan",
    "project_root",
    "rank",
    "run_parameters",
    "scores",
    "settings",
    "shard",
    "switch",
    "train",
    "weights_file",
    "world_size",
]
