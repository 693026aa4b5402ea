"""Check of command-line overrides against the keys of the config files."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow
from monai.utils import ensure_tuple

from engines.base.command_values import check_number_signs, given_options
from engines.base.paths import as_path
from engines.base.replaced_options import REPLACED
from transforms.errors import UserError

ENDINGS = (".json", ".yaml", ".yml")
RECORD = "save_execute_config"
"""Key that MONAI's switch `--tracking` adds."""

EPOCHS = "train::trainer::max_epochs"
"""Key of MONAI's property `max_epochs`: the number of epochs of all stages, computed from the plan."""


def check_overrides(workflow: ConfigWorkflow) -> None:
    """Refuse overrides that a training would silently ignore: those that name no top-level key, and `EPOCHS`.

    Raises:
        UserError: suggests the nearest names.
    """
    configs = _configs(workflow)
    known = {key for config in configs for key in config if not key.startswith("_desc_")}
    _refuse_tracking(workflow, known)
    _refuse_epochs(workflow, configs)
    said: dict[str, list[Any]] = {}
    for config in configs:
        for key in (key for key in config if key.startswith("_desc_")):
            said.setdefault(key, []).append(config[key])
    unknown = [key for key in workflow.parser.config if key not in known and key not in said and key != "_meta_"]
    unknown += [key for key, texts in said.items() if workflow.parser.config.get(key, texts[0]) not in texts]
    replaced = [key for key in unknown if key in REPLACED]
    if known and replaced:
        raise UserError("; ".join(f"--{key} is now {REPLACED[key]}" for key in replaced))
    if known and unknown:
        hints = []
        for key in unknown:
            near = difflib.get_close_matches(key, sorted(known), n=3, cutoff=0.5)
            hints.append(f"--{key}" + (f" (did you mean {' or '.join(f'--{n}' for n in near)}?)" if near else ""))
        raise UserError(f"unknown option: {', '.join(hints)}; options are the top-level keys of the config file")
    check_number_signs(sys.argv)
    for key in given_as_none(sys.argv):
        if key in known and workflow.parser.get_parsed_content(key) is not None:
            raise UserError(f"--{key} None: MONAI ignores this; write --{key} '$None', in cmd \"$None\"")


def given_as_none(words: Sequence[str]) -> list[str]:
    """Return the options of a command line with the value None, which MONAI drops in favor of the config's value."""
    return [name for name, value in given_options(words) if value == "None"]


def _configs(workflow: ConfigWorkflow) -> list[dict[str, Any]]:
    """Return the config files that the run was started with; if these are unknown, all configs in their folder."""
    files = [Path(name) for name in loaded_files()]
    if not files:
        folder = Path(workflow.config_root_path)
        files = sorted(path for path in folder.glob("*") if path.suffix in ENDINGS and path.stem != "metadata")
    return [ConfigParser.load_config_file(str(path)) for path in files]


def loaded_files() -> list[str]:
    """Return the files given as `config_file` to MONAI's `run`, from the call stack: a workflow does not keep them."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "monai.bundle.scripts" and frame.f_code.co_name == "run":
            given = frame.f_locals.get("config_file")
            names = [str(name) for name in ensure_tuple(given)] if given is not None else []
            return [name for name in names if Path(name).is_file()]
        frame = frame.f_back
    return []


def _refuse_tracking(workflow: ConfigWorkflow, known: set[str]) -> None:
    """Refuse MONAI's own switch, which adds keys and handlers and writes a config to the output folder beforehand."""
    config = workflow.parser.config
    if RECORD not in config or RECORD in known:
        return
    name = re.search(r"config_\d{8}_\d{6}\.json", str(config[RECORD]))
    if name is not None:
        written = as_path(workflow.parser.get_parsed_content("output_dir")) / name.group()
        with contextlib.suppress(OSError):
            written.unlink(missing_ok=True)
            written.parent.rmdir()  # only if it is empty, i.e. created by MONAI
    raise UserError(
        "--tracking: leave it out; every training and evaluation here is already an MLflow run (see --tracking_uri, "
        "--experiment_name and --run_name)"
    )


def _refuse_epochs(workflow: ConfigWorkflow, configs: Sequence[dict[str, Any]]) -> None:
    """Refuse another number of epochs of MONAI's trainer, which each stage sets anew."""
    given = workflow.parser.get(EPOCHS)
    usual = next((value for config in configs if (value := ConfigParser(config).get(EPOCHS)) is not None), given)
    if given != usual:
        raise UserError(
            f"--{EPOCHS} {given}: give --max_epochs instead, the number of epochs of each stage, or one per stage "
            "(\"{'front': 10, 'context': 5}\")"
        )


def is_given(workflow: ConfigWorkflow, option: str) -> bool:
    """Return whether the user gave a numeric option, whose default is an expression that takes it from the recipe."""
    return not isinstance(workflow.parser.get(option), str)
