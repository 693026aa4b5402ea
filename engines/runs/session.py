"""What happens before a bundle's work begins: overrides checked, errors made readable, noise kept out.

Called first by every run id of every bundle, so that a mistyped option costs a second and not a training.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
import json
import logging
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.bundle import ConfigWorkflow
from monai.data import set_track_meta

from engines.base.console import forget, robust_console
from engines.base.distributed import is_main
from engines.base.network_file import NetworkRows, rows_beside
from engines.base.signals import handle_signals
from engines.base.versions import compare_versions
from engines.records.mlflow_store import disable_telemetry
from engines.training.epochs import seed_all
from transforms.errors import UserError, user_error

logger = logging.getLogger("mammoseg")


def begin(seed: int = 0, recipe: str | None = None, recipes: Mapping[str, Any] | None = None) -> None:
    """Prepare this process for a bundle's run. The network's first weights are drawn after this, from `seed`.

    Raises:
        UserError: an override names no key of the config, or there is no such recipe.
    """
    sys.excepthook = readable_excepthook
    handle_signals()
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    robust_console()
    logger.setLevel(logging.INFO if is_main() else logging.ERROR)
    logging.getLogger("ignite.engine.engine").setLevel(logging.CRITICAL)  # an error is told once, by the hook
    disable_telemetry()
    set_track_meta(False)  # geometry is kept by the data set and the writers; plain tensors are faster
    # ignite checks tensors for NaN with a call that torch deprecates; nothing a user could do about it
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="ignite")
    seed_all(seed)
    workflow = running_workflow()
    if workflow is not None:
        check_overrides(workflow)
        compare_versions(workflow.parser.get("_meta_"))
    if recipes is not None and recipe not in recipes:
        raise UserError(f"--recipe {recipe}: no such recipe; there are {', '.join(recipes)}")


def running_workflow() -> ConfigWorkflow | None:
    """The MONAI workflow whose config is being run, found on the call stack (configs cannot refer to it)."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, ConfigWorkflow):
            return caller
        frame = frame.f_back
    return None


def running_rows() -> NetworkRows | None:
    """Title and rows of the bundle that is being run, from its network.json."""
    workflow = running_workflow()
    return None if workflow is None else rows_beside(Path(workflow.config_root_path))


def check_overrides(workflow: ConfigWorkflow) -> None:
    """Refuse overrides that name no top-level key: MONAI adds them silently, and the training ignores them.

    Raises:
        UserError: with the nearest names.
    """
    folder = Path(workflow.config_root_path)
    known = known_keys(folder)
    said = sentences(folder)
    unknown = [key for key in workflow.parser.config if key not in known and key not in said and key != "_meta_"]
    unknown += [key for key, texts in said.items() if workflow.parser.config.get(key, texts[0]) not in texts]
    if known and unknown:
        hints = []
        for key in unknown:
            near = difflib.get_close_matches(key, sorted(known), n=3, cutoff=0.5)
            hints.append(f"--{key}" + (f" (did you mean {' or '.join(f'--{n}' for n in near)}?)" if near else ""))
        raise UserError(f"no such option: {', '.join(hints)}; options are the top-level keys of the config file")
    for key in given_as_none(sys.argv):
        if key in known and workflow.parser.get_parsed_content(key) is not None:
            raise UserError(f"--{key} None: MONAI takes that for not given; write --{key} '$None', in cmd \"$None\"")


def given_as_none(words: Sequence[str]) -> list[str]:
    """Options of a command line whose value is None, which MONAI drops, so that the config's own would count."""
    pairs = [(word, following) for word, following in itertools.pairwise(words) if "=" not in word]
    pairs += [(word.partition("=")[0], word.partition("=")[2]) for word in words]
    return [option[2:] for option, value in pairs if option.startswith("--") and value == "None"]


def known_keys(config_folder: Path) -> set[str]:
    """Top-level keys of all config files of a bundle that are options; their sentences (`_desc_…`) are none."""
    return {key for config in _configs(config_folder) for key in config if not key.startswith("_desc_")}


def sentences(config_folder: Path) -> dict[str, list[Any]]:
    """Top-level keys that explain a bundle's options, and what they say in its config files."""
    found: dict[str, list[Any]] = {}
    for config in _configs(config_folder):
        for key in config:
            if key.startswith("_desc_"):
                found.setdefault(key, []).append(config[key])
    return found


def _configs(folder: Path) -> list[dict[str, Any]]:
    paths = (path for path in sorted(folder.glob("*.json")) if path.name != "metadata.json")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def readable_excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Print a `UserError`, however deeply MONAI wrapped it, as one line; anything else as usual."""
    try:
        cause = user_error(error)
        if issubclass(kind, KeyboardInterrupt):
            print("\nInterrupted.", *error.args, file=sys.stderr)
        elif cause is None:
            sys.__excepthook__(kind, error, traceback)
        else:
            print(f"error: {cause}", file=sys.stderr)
        sys.stderr.flush()
    except OSError:  # the terminal has gone
        forget(sys.stderr)
