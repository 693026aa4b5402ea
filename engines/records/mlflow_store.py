"""MLflow stores: location, reachability, and permitted names."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies

import mlflow
from mlflow.tracking import MlflowClient
from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH

from engines.base.lock import NAME, claim
from engines.base.paths import as_path, project_root

SHORT_WAIT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""MLflow would wait minutes for an unreachable server; environment variables take precedence."""


PREFIX = ".mlflow-"
"""Prefix of temporary folders in which a database is created, beside its final path."""

WORDS = ("databricks", "databricks-uc")
"""Stores that MLflow identifies by a single word."""


def disable_telemetry() -> None:
    """Keep MLflow from reporting usage over the network, unless the user's environment sets it."""
    if "MLFLOW_DISABLE_TELEMETRY" not in os.environ and "DO_NOT_TRACK" not in os.environ:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        mlflow.telemetry.set_telemetry_client()


def default_tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI` if set, else mlflow.db at the project's root, where a bare `mlflow ui` looks."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(project_root() / "mlflow.db")


def environment(variable: str, default: str) -> str:
    """Return an environment variable such as MLFLOW_EXPERIMENT_NAME, or the default if it is empty or not set."""
    return os.environ.get(variable) or default


def as_tracking_uri(uri: str) -> str:
    """Accept a plain path of a database file (also `C:\\runs\\x.db`) where MLflow wants a URI; see also `as_path`."""
    if "://" not in uri and uri not in WORDS and not uri.startswith("file:"):
        return sqlite_uri(as_path(uri))
    file = sqlite_path(uri)
    return uri if file is None or file.exists() else uri.replace("::", "#")


def sqlite_uri(path: Path) -> str:
    """Return the URI of a database file. Only what would end the path is encoded, as MLflow also reads it undecoded."""
    return "sqlite:///" + path.absolute().as_posix().translate({ord(c): quote(c) for c in "%?#"})


def sqlite_path(uri: str) -> Path | None:
    """Return the file of an SQLite URI, which may end with options (`?timeout=60`); None for any other store."""
    return Path(unquote(uri[len("sqlite:///") :].split("?")[0])) if uri.startswith("sqlite:///") else None


PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
LOCKED_SECONDS = 20.0
"""Seconds for which another process may lock an SQLite file."""


def check_server(uri: str, seconds: float = 5.0) -> None:
    """Fail fast if a server refuses connections, or a database file cannot be opened: MLflow retries for minutes.

    Raises:
        OSError: the server does not answer.
        sqlite3.Error: the file cannot be opened, is not a database, or is damaged.
    """
    path = sqlite_path(uri)
    if path is not None and path.exists():
        with closing(sqlite3.connect(path, timeout=LOCKED_SECONDS)) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    address = urlsplit(uri)
    scheme = address.scheme.partition("+")[0]
    if scheme not in PORTS or not address.hostname or scheme in getproxies():
        return
    port = address.port or PORTS[scheme]
    with socket.create_connection((address.hostname, port), timeout=seconds):
        pass


def make_database(uri: str) -> None:
    """Create the tables of a new SQLite store, atomically.

    With MLflow alone, two trainings that start at once on a new file both create its tables, and leave a file that can
    never be opened again.
    """
    path = sqlite_path(uri)
    if path is None:
        return
    _remove_left(path.parent)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        lock = claim(Path(folder) / NAME)
        made, copy = Path(folder) / "made.db", Path(folder) / "copy.db"
        MlflowClient(tracking_uri=sqlite_uri(made)).search_experiments(max_results=1)
        shutil.copyfile(made, copy)  # MLflow keeps the first open, and Windows does not move an open file
        try:
            os.link(copy, path)
        except FileExistsError:  # another process was faster
            return
        except OSError:  # a file system without links
            copy.replace(path)
        finally:
            if lock is not None:
                lock.close()


def _remove_left(folder: Path) -> None:
    """Remove the folders of processes that were killed while they created a database."""
    for left in folder.glob(PREFIX + "*"):
        if not (left / NAME).is_file():  # an older version's, or not locked yet
            continue
        lock = claim(left / NAME)
        if lock is not None:
            lock.close()
            shutil.rmtree(left, ignore_errors=True)


def release_connections(client: MlflowClient) -> None:
    """Release a database's connections: an interrupted write may hold one, and with it the database's lock."""
    store = getattr(getattr(client, "_tracking_client", None), "store", None)
    for name in ("engine", "read_engine"):  # MLflow has no public name for it; only databases have them
        engine = getattr(store, name, None)
        if engine is not None:
            engine.dispose()


BOUNDARIES = re.compile(r"(^|/)(boundary_iou|hd95_mm|hd95_percent)/")
"""Beginnings of class boundary scores, which would sort before or between those of Dice and IoU."""


def metric_name(name: str) -> str:
    """Return a name MLflow accepts: anything but letters (of any script), digits and `_ - . : / space` becomes `_`.

    So does a part between slashes that is empty or only dots; the name is cut to MLflow's length.
    """
    parts = re.sub(r"[^\w\-. :/]", "_", name).split("/")
    parts = [part if part.strip(".") else "_" * max(1, len(part)) for part in parts]
    return re.sub(r"^\.\.", "__", "/".join(parts))[:MAX_ENTITY_KEY_LENGTH]


def metric_names(names: Iterable[str]) -> list[str]:
    """Return `metric_name` of each, with a number appended where two would be equal.

    MLflow groups charts by the part before the last slash, in alphabetical order: boundary scores go after Dice and
    IoU, as `surface/boundary_iou/<class>` and `surface/hd95_mm/<class>`.
    """
    taken: list[str] = []
    for name in (metric_name(BOUNDARIES.sub(r"\1surface/\2/", name)) for name in names):
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name[: MAX_ENTITY_KEY_LENGTH - 4]}_{number}", number + 1
        taken.append(unique)
    return taken
