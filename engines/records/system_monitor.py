"""MLflow's system metrics: the machine's load during a run."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

from transforms.errors import UserError


class SystemMonitor:
    """MLflow's own thread that logs `system/…` to a run, every ten seconds or MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL.

    Raises:
        UserError: psutil, which it needs, is not installed.
    """

    def __init__(self) -> None:
        if find_spec("psutil") is None:
            raise UserError(
                "--system_metrics true: needs the package psutil; pip install psutil, for GPUs nvidia-ml-py"
            )
        self._monitor: Any = None

    def start(self, run_id: str, tracking_uri: str) -> None:
        """Begin, or continue a run's earlier numbers."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor  # takes a second

        logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
        self._monitor = SystemMetricsMonitor(run_id, resume_logging=True, tracking_uri=tracking_uri)
        self._monitor.start()

    def finish(self) -> None:
        """Stop; the numbers so far are logged."""
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
