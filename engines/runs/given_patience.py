"""Notice about a `patience` that cannot take effect."""

from __future__ import annotations

from engines.runs.overrides import is_given
from engines.runs.session import running_workflow
from engines.training.early_stopping import without_effect
from engines.training.staged_training import StagedTraining


def patience_in_vain(training: StagedTraining) -> str | None:
    """Return one sentence if the user gave a `patience` that never ends some stage early; else None."""
    workflow = running_workflow()
    if workflow is None or not is_given(workflow, "patience"):
        return None
    options = training.settings
    return without_effect(training.plan, int(options["patience"]), int(options["val_interval"]))
