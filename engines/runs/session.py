"""Setup of a bundle's run: override checks, readable errors, filtered warnings.

Called first by every run id of every bundle, so that a mistyped option costs a second instead of a training.
"""

from __future__ import annotations

import inspect
import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.bundle import ConfigWorkflow
from monai.data import set_track_meta

from engines.base.collector import put_off
from engines.base.console import forget, robust_console
from engines.base.network_file import rows_beside
from engines.base.options import check_options
from engines.base.signals import handle_signals, hides_interruption
from engines.base.threads import fit_threads
from engines.base.versions import compare_versions
from engines.base.world import is_main
from engines.records.mlflow_run import Tracking
from engines.records.mlflow_store import disable_telemetry
from engines.runs.overrides import check_overrides
from engines.training.epochs import seed_all
from transforms.dataset import SECTIONS, Dataset
from transforms.errors import UserError, user_error

logger = logging.getLogger("mammoseg")


def begin(seed: int = 0, recipe: str | None = None, recipes: Mapping[str, Any] | None = None) -> None:
    """Prepare this process for a bundle's run. The network's initial weights are drawn after this, from `seed`.

    Raises:
        UserError: an override names no key of the config, the recipe is unknown, or the seed is not a whole number.
    """
    sys.excepthook = readable_excepthook
    put_off()
    handle_signals()
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    robust_console()
    logger.setLevel(logging.INFO if is_main() else logging.ERROR)
    logging.getLogger("ignite.engine.engine").setLevel(logging.CRITICAL)  # an error is reported once, by the hook
    disable_telemetry()
    fit_threads(quiet=True)  # so that computations of the config give way, too; settled before the first step
    set_track_meta(False)  # geometry is kept by the data set and the writers; plain tensors are faster
    # ignite checks tensors for NaN with a call that torch deprecates; users cannot change that
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="ignite")
    check_options({"seed": seed})
    seed_all(seed)
    workflow = running_workflow()
    if workflow is not None:
        check_overrides(workflow)
        compare_versions(workflow.parser.get("_meta_"))
    if recipes is not None and (not isinstance(recipe, str) or recipe not in recipes):
        raise UserError(f"--recipe {recipe}: unknown; choose from {', '.join(recipes)}")


def running_workflow() -> ConfigWorkflow | None:
    """Return the MONAI workflow whose config is being run, from the call stack (configs cannot refer to it)."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigWorkflow):
            return caller
        frame = frame.f_back
    return None


def describe_run(tracking: Tracking, data: Dataset, config: str) -> None:
    """Complete the run's description in MLflow: the bundle's rows, the config that is run, and the data set's size."""
    workflow = running_workflow()
    if workflow is not None:
        folder = Path(workflow.config_root_path)
        tracking.rows = rows_beside(folder)
        tracking.source = f"bundles/{folder.resolve().parent.name}/configs/{config}.json"
    counts = {f"{name}_images": data.count(name) for name in SECTIONS}
    tracking.profile = {"num_rows": sum(counts.values()), **counts, "classes": data.class_names}


def readable_excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print a `UserError` or an error of the disk, however deeply wrapped, as one line; anything else as usual."""
    try:
        cause = user_error(error)
        if issubclass(kind, KeyboardInterrupt):
            print("\nInterrupted.", *error.args, file=sys.stderr)
        elif cause is None and hides_interruption(error):
            print("\nInterrupted.", file=sys.stderr)
        elif cause is None and (disk := _disk_error(error)) is not None:
            print(f"error: {disk.filename}: {disk.strerror}; check the disk and the permissions", file=sys.stderr)
        elif cause is None:
            sys.__excepthook__(kind, error, traceback)
        else:
            print(f"error: {cause}", file=sys.stderr)
        sys.stderr.flush()
    except OSError:  # the terminal was closed
        forget(sys.stderr)


def _disk_error(error: BaseException | None) -> OSError | None:
    """The error of the system that names a file, if one is the cause; not one that was dealt with before another."""
    while error is not None:
        if isinstance(error, OSError) and error.filename is not None:
            return error
        error = error.__cause__
    return None
