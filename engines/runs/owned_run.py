"""MLflow run and output folder of a task, opened and closed in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from engines.base.lock import NAME, locked
from engines.base.machine_errors import errors_in_one_line
from engines.base.signals import let_go
from engines.base.world import is_main
from engines.records.mlflow_run import Tracking
from engines.records.output_folder import Output


@contextmanager
def own(
    folder: Path, tracking: Tracking, force: bool = False, task: str = "training", option: str = "--output_dir"
) -> Iterator[None]:
    """Lock an output folder, given by `option`; end the MLflow runs of a process that was killed while it held it.

    Raises:
        UserError: another process uses it.
    """
    if not is_main():
        yield
        return
    remedy = "--force true" if option == "--output_dir" else f"delete {folder / NAME}"
    with locked(folder, task, option, force, tracking.store_record(), remedy) as lock:
        tracking.set_lock(lock.token)
        if lock.left is not None:
            for left in (lock.left, *lock.left.get("left", ())):
                tracking.end_left(left)
            lock.settled = True
        yield


@contextmanager
def tracked(
    tracking: Tracking, run_id: str | None = None, stage_runs: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Open the MLflow run; finish it as FINISHED, KILLED (Ctrl-C, SIGTERM) or FAILED (anything else).

    Args:
        run_id, stage_runs: a run to continue, see `Tracking.start`.
    """
    try:
        tracking.start(run_id, stage_runs)
        yield
    except KeyboardInterrupt as interruption:
        let_go(interruption)
        tracking.end("KILLED")
        raise
    except BaseException:
        tracking.end("FAILED")
        raise
    tracking.end("FINISHED")


@contextmanager
def resumable(output: Output) -> Iterator[None]:
    """Add how to resume to interruptions and machine errors, if there is a state to resume from."""
    try:
        hint = "--resume true continues after the last saved epoch"
        with errors_in_one_line(output.folder, lambda: hint if output.progress.exists() else ""):
            yield
    except KeyboardInterrupt:
        words = ["To resume: the same command with --resume true"] if output.progress.exists() else []
        raise KeyboardInterrupt(*words) from None
