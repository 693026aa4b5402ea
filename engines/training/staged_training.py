"""Staged training (paper, sections 2.1 and 2.3): one network trained in stages by one MONAI trainer.

"Only the front module is trained in the first step. […] In the second stage the weights in the front section are
frozen, and only the ones in the context module are modified. The training process concludes with a final stage in
which the entire network is trained without any frozen variables." A network of one stage is the simplest case.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator, SupervisedTrainer

from engines.base.distributed import exchange_once, parallel
from engines.base.signals import end_if_asked
from engines.base.threads import restore_threads
from engines.base.world import is_main, rank
from engines.inference.finite import naming_case
from engines.records.data_record import DataGuard
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output
from engines.records.predictions import SamplePredictions
from engines.records.tables import read_epochs
from engines.scoring.boundary_scores import BoundaryScores
from engines.scoring.confusion_files import plain_matrices
from engines.scoring.single_pass import PassHandler
from engines.training.average import Averaging
from engines.training.divergence import LossWatch, check_weights, loss_of
from engines.training.early_stopping import early_stopping, monitored_score
from engines.training.epoch_loader import read_ahead
from engines.training.epochs import EpochDataset, begin_epoch, seed_all
from engines.training.frozen_cache import FrozenCache
from engines.training.interrupted import check_same, fitting, keep_runs, say_it_is_over
from engines.training.loss_scaling import LossScaling
from engines.training.lr_schedule import check_schedule, rate_of_epoch
from engines.training.plan import Stage, check_keep, set_stage
from engines.training.planned_epochs import PlannedEpochs
from engines.training.stage_evidence import leave_evidence, say_how_it_ended
from engines.training.stage_lesions import StageLesions, end_scores, score_end
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")


class StagedTraining:
    """Runs a `SupervisedTrainer` and its `SupervisedEvaluator` through the stages of a network.

    Every stage starts from the best weights of the previous one (which count as its epoch 0), with a fresh optimizer
    state and its own epochs, crop size, learning rate and early stopping. After each epoch everything needed to resume
    is saved; every epoch's randomness is a function of (seed, stage, epoch), so that an interrupted training ends
    with the same weights as an uninterrupted one.

    Args:
        trainer: its dataset is an `EpochDataset` whose transforms hold one `RandBalancedCropd`, its handlers a
            `ValidationHandler` that runs the evaluator every epoch.
        evaluator: validation on whole images; `state.metrics` must hold `monitor`.
        plan: stages in order.
        output: folder of weights, tables and pictures.
        tracking: the MLflow run.
        seed: see `EpochDataset`.
        lr_schedule: see `engines.training.lr_schedule.rate_of_epoch`.
        lr_drop_factor: factor of the schedule `piecewise`.
        lr_drop_period: period of the schedule `piecewise`, in epochs.
        monitor: the validation score for early stopping and the choice of the best epoch (higher is better); see
            `monitored_score`.
        patience: validations without improvement of at least `min_delta` before a stage ends; 0 never ends it early.
        keep: "best" restores the epoch with the highest `monitor`; "last" keeps the final epoch, so that validation
            scores stay free of selection bias.
        settings: plain values stored beside the weights, from which evaluation and inference rebuild the network.
        ema_decay: above 0, a stage is validated and ends with the moving average of its weights, see `MovingAverage`.
        cache_frozen: cache the output of frozen layers for crops that recur, see `engines.training.frozen_cache`.
    """

    def __init__(
        self,
        trainer: SupervisedTrainer,
        evaluator: SupervisedEvaluator,
        plan: Sequence[Stage],
        output: Output,
        tracking: Tracking,
        seed: int = 0,
        lr_schedule: str = "piecewise",
        lr_drop_factor: float = 0.3,
        lr_drop_period: int = 10,
        monitor: str = "mean_iou",
        patience: int = 4,
        min_delta: float = 0.0,
        settings: Mapping[str, Any] | None = None,
        keep: str = "best",
        ema_decay: float = 0.0,
        cache_frozen: bool = False,
    ) -> None:
        self.trainer, self.evaluator, self.plan = trainer, evaluator, list(plan)
        self.output, self.tracking, self.seed = output, tracking, seed
        check_schedule(lr_schedule)
        check_keep(keep, patience)
        self.keep, self.falling = keep, (lr_schedule, lr_drop_factor, lr_drop_period)
        self.settings = dict(settings or {})
        self.planned = PlannedEpochs(self.falling)
        self.results: dict[str, dict[str, float]] = {}
        self.best: dict[str, Any] = {}
        self.lesions: StageLesions | None = None
        self.boundaries: BoundaryScores | None = None
        self.pictures: Sequence[PassHandler] = ()
        self.saved: dict[str, Any] | None = None
        self.stage = self.plan[0]
        self.guard: DataGuard | None = None
        self.network: Any = getattr(trainer.network, "module", trainer.network)
        self.averaging, self.scaling = Averaging(ema_decay), LossScaling(trainer)
        self.frozen = FrozenCache(cache_frozen, trainer, output.models)
        names = list(self.settings.get("labels", {}).values())
        self.losses, self.samples = LossWatch(len(names)), SamplePredictions(len(names), worst=0)
        self.monitor = monitored_score(monitor, names, self.settings.get("lesion_class"))
        self.early_stopping = early_stopping(trainer, self.monitor, patience, min_delta)
        self.samples.attach(evaluator)
        trainer.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, self._stop_divergence)
        exchange_once(trainer, evaluator)
        evaluator.add_event_handler(Events.COMPLETED, self._validated)
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self._end_epoch)

    # -- the stages --------------------------------------------------------------------------------------------

    def run(self) -> dict[str, dict[str, float]]:
        """Train all stages left by `prepare`; return the validation scores of each stage's best epoch."""
        saved, first = self.saved, self.plan.index(self.stage)
        if saved is None:
            self.output.progress.save(self._snapshot(), rotate=False)  # with the ids of the MLflow run
        self.tracking.log_artifacts(self.output.write_config(self.settings), "eval")
        for index in range(first, len(self.plan)):
            self._begin(index)
            self.tracking.start_stage(self.stage.name, self.stage.parameters())
            logger.info("\nStage %s", self.stage)
            if saved is not None and index == first:
                self._restore_stage(saved)
                keep_runs(self.output.progress, saved, self.tracking)
            elif index > 0 and self.keep == "best":
                self._score_start()
            counter = self.early_stopping.counter if self.early_stopping is not None else 0
            if not self._over(self.stage, self.trainer.state.epoch, counter):
                with self.frozen.of_stage(index, self.stage, self.network, self.settings):
                    self.trainer.run()
            self._finish()
        return self.results

    def prepare(
        self, resume: bool = False, guard: DataGuard | None = None
    ) -> tuple[str | None, Mapping[str, str] | None]:
        """Set up the first remaining stage and save it: from here on the training can be resumed.

        Args:
            resume: continue the training that was interrupted in this output folder.
            guard: compares the data with those of the interrupted training.

        Returns the MLflow run to continue, and the runs of its stages: see `Tracking.start`.

        Raises:
            UserError: nothing to resume, or a training with another plan or network.
        """
        saved = self.saved = self.output.progress.load() if resume else None
        self.stage = self.plan[0 if saved is None else self._restore_run(saved)]
        self.guard = guard if is_main() else None
        if self.guard is not None:
            self.guard.resume(saved.get("data")) if saved is not None else self.guard.begin()
        self.frozen.check(self.plan, self.network)
        if saved is None:
            self.output.start_anew()
            self.frozen.clear()
        if self.guard is not None:
            self.guard.write()
        if saved is not None:
            read_epochs(self.output.epochs_file)  # otherwise an hour-long epoch would end with its error
            return saved["run_id"], saved["stage_runs"]
        self._begin(0)
        self.output.progress.save(self._snapshot())  # also checks, before the first epoch, that it fits on the disk
        return None, None

    def _begin(self, index: int) -> None:
        """Set up stage `index`, starting from the weights the network holds."""
        stage = self.stage = self.plan[index]
        set_stage(self.network, stage.name)
        self.trainer.network = parallel(self.network)
        self.network.zero_grad(set_to_none=True)
        optimizer = self.trainer.optimizer
        optimizer.state.clear()
        optimizer.param_groups[0]["params"] = [p for p in self.network.parameters() if p.requires_grad]
        self.evaluator.network = self.averaging.begin(self.network, optimizer)
        self.dataset.set_crop_size(stage.crop_size)
        self.dataset.prepare()
        state = self.trainer.state
        state.epoch = state.iteration = 0
        state.max_epochs = stage.max_epochs
        self.best = {"epoch": 0, "scores": {}, "weights": None}
        if self.early_stopping is not None:
            self.early_stopping.counter = 0
            self.early_stopping.best_score = None
        self.evaluator.state.best_metric_epoch = -1

    def _score_start(self) -> None:
        """Count the weights a later stage starts from as its epoch 0: a stage never ends with worse ones."""
        self.evaluator.run()
        self._keep_best(0, dict(self.evaluator.state.metrics))
        if self.early_stopping is not None:
            self.early_stopping(self.evaluator)

    def _finish(self) -> None:
        """Load the final weights of the stage into the network, and record their scores."""
        epoch = self.trainer.state.epoch
        if self.best["weights"] is None or (self.best["epoch"] != epoch and not self.evaluator.state.metrics):
            self.evaluator.run()  # the last epoch, which val_interval skipped
            self._keep_best(epoch, dict(self.evaluator.state.metrics))
        name, best = self.stage.name, self.best
        self.network.load_state_dict(best["weights"])
        self.evaluator.network = self.network
        point = self._score_end(name)
        about = {**self.settings, "run_id": self.tracking.run_id, "operating_point": point}
        about |= self.planned.record(self.plan, self.stage)
        if self.tracking.rows is not None:
            about["bundle"] = self.tracking.rows.bundle  # from which an ensemble builds the network
        self.output.save_stage(name, best["weights"], about, best["scores"], best["epoch"])
        leave_evidence(self.output, self.tracking, name, best, self.settings)
        self.results[name] = {**best["scores"], **end_scores(self.lesions, self.boundaries)}
        self.tracking.end_stage({**self.results[name], "epoch": best["epoch"]})
        say_how_it_ended(self.stage, epoch, best, self.keep, self.monitor)

    def _score_end(self, name: str) -> dict[str, Any] | None:
        """Count lesions, measure boundaries and, for the last stage, draw pictures; return the operating point."""
        pictures = self.pictures if self.stage is self.plan[-1] else ()
        with naming_case(self.evaluator):
            return score_end(self.evaluator, self.output, name, self.lesions, self.boundaries, pictures)

    @property
    def dataset(self) -> EpochDataset:
        """Data set of the training crops."""
        dataset = self.trainer.data_loader.dataset
        assert isinstance(dataset, EpochDataset)
        return dataset

    # -- each epoch --------------------------------------------------------------------------------------------

    def _start_epoch(self) -> None:
        stage, epoch = self.plan.index(self.stage), self.trainer.state.epoch
        begin_epoch(self.trainer.data_loader, stage, self.stage, epoch)
        seed_all(self.seed, stage, epoch, *([rank()] if rank() else []))  # dropout differs between processes
        rate = rate_of_epoch(self.stage, epoch, *self.falling)
        for group in self.trainer.optimizer.param_groups:
            group["lr"] = rate
        self.evaluator.state.metrics.clear()
        self.trainer.state.metrics.clear()
        self.trainer.state.metrics["learning_rate"] = rate

    def _stop_divergence(self) -> None:
        end_if_asked()
        self.losses.look(loss_of(self.trainer.state.output), self.stage, self.trainer.state)
        read_ahead(self.trainer, self.plan.index(self.stage), self.stage)

    def _validated(self) -> None:
        """Add the validation scores to the training loss, for handlers that report on the trainer."""
        self.trainer.state.metrics.update(self.evaluator.state.metrics)

    def _end_epoch(self) -> None:
        """Keep the weights if a stage may end with them, check early stopping, and save the state for resuming."""
        state = self.trainer.state
        check_weights(self.network, self.stage, state.epoch)
        if self.evaluator.state.metrics:
            self._keep_best(state.epoch, dict(self.evaluator.state.metrics))
            if self.early_stopping is not None:
                self.early_stopping(self.evaluator)
        self.output.append_epoch(self.stage.name, state.epoch, state.metrics)
        self.planned.add(self.stage)
        self.output.progress.save(self._snapshot())

    def _keep_best(self, epoch: int, scores: dict[str, float]) -> None:
        """Keep the validated weights if the stage would end with them so far."""
        if math.isnan(scores[self.monitor]) and self.keep == "best":
            raise UserError(
                f"--monitor {self.monitor}: has no value, as the class does not occur in the validation images; "
                "choose another score"
            )
        better = self.best["weights"] is None or scores[self.monitor] > self.best["scores"][self.monitor]
        if better or self.keep == "last":
            state, plain = self.evaluator.network.state_dict(), torch.contiguous_format
            weights = {k: v.detach().cpu().clone(memory_format=plain) for k, v in state.items()}
            self.best = {
                "epoch": epoch,
                "scores": scores,
                "weights": weights,
                "confusion": plain_matrices(self.evaluator.state.metric_details["confusion"]),
                "predictions": self.samples.tensors(),
            }

    # -- resuming after an interruption ------------------------------------------------------------------------

    def _snapshot(self) -> dict[str, Any]:
        return {
            "settings": self.settings,
            "stage": self.stage.name,
            "epoch": self.trainer.state.epoch,
            "network": self.network.state_dict(),
            "optimizer": self.trainer.optimizer.state_dict(),
            **self.averaging.state(),
            **self.scaling.state(),
            **self.planned.state(),
            **self.losses.state(),
            "best": self.best,
            "results": self.results,
            "stopping": (stopping.counter, stopping.best_score) if (stopping := self.early_stopping) else (0, None),
            "data": self.guard.digest if self.guard is not None else None,
            "run_id": self.tracking.run_id,
            "stage_runs": self.tracking.stage_runs,
            "threads": torch.get_num_threads(),
        }

    def _restore_run(self, saved: Mapping[str, Any]) -> int:
        """Check that the saved training is this one; return the index of its stage."""
        index = check_same(self.output.progress.file, saved, self.settings, [stage.name for stage in self.plan])
        self.results = saved["results"]
        with fitting(self.output.progress.file):
            self.planned.restore(saved, self.plan, index)
            self.losses.restore(saved)
        restore_threads(saved.get("threads"))
        if index == len(self.plan) - 1 and self._over(self.plan[index], saved["epoch"], saved["stopping"][0]):
            say_it_is_over(self.plan[index], saved["epoch"])
        return index

    def _restore_stage(self, saved: Mapping[str, Any]) -> None:
        """Restore network, optimizer, epoch, best epoch and early stopping."""
        with fitting(self.output.progress.file):
            self.network.load_state_dict(saved["network"])
            self.trainer.optimizer.load_state_dict(saved["optimizer"])
        self.averaging.restore(saved)
        self.scaling.restore(saved)
        state = self.trainer.state
        state.epoch = saved["epoch"]
        state.iteration = saved["epoch"] * state.epoch_length
        self.best = saved["best"]
        if self.early_stopping is not None:
            self.early_stopping.counter, self.early_stopping.best_score = saved["stopping"]
        logger.info("Resuming stage %s after epoch %d.", self.stage.name, state.epoch)

    def _over(self, stage: Stage, epoch: int, counter: int) -> bool:
        """Return whether a stage has completed its epochs or was stopped early."""
        stopped = self.early_stopping is not None and counter >= self.early_stopping.patience
        return epoch >= stage.max_epochs or stopped
