"""Checks of numeric and boolean options, made before anything is built from them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from engines.base.loading import AUTO
from engines.base.unused_options import unused_options
from transforms.errors import UserError

logger = logging.getLogger("mammoseg")

WHOLE = {
    "batch_size": 1,
    "micro_batch_size": 1,
    "crops_per_image": 1,
    "image_height": 8,
    "lr_drop_period": 1,
    "val_interval": 1,
    "patience": 0,
    "num_workers": 0,
    "seed": 0,
}
"""Options that are whole numbers, with their minimum."""

REAL = {
    "width": (0.0, 4.0),
    "momentum": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    "lr_drop_factor": (0.0, 1.0),
    "min_delta": (0.0, 1.0),
    "anywhere_share": (0.0, 1.0),
    "ema_decay": (0.0, 0.99999),
    "memory_gb": (0.0, 1e6),
}
"""Options that are real numbers, with their minimum and maximum."""

SWITCHES = {"balanced", "mirror_averaging", "checkpointing", "compile", "cache_frozen"}
"""True or false; a command line passes "false" as a text, which Python considers true."""

ABOVE_ZERO = {"width", "lr_drop_factor", "memory_gb"}
OPTIONAL = {"image_height", "memory_gb"}
"""May be None: stored resolution; automatic memory limit."""

AUTOMATIC = {"num_workers", "micro_batch_size"}
"""May be `AUTO`."""


def check_options(options: Mapping[str, Any]) -> None:
    """Check the numeric and boolean options of a config; `engines.training.plan` checks the options of stages.

    Options of the command line that have no effect together with the others are logged as a warning.

    Raises:
        UserError: names the option, its value and the allowed values.
    """
    for name, value in options.items():
        if name in SWITCHES:
            switch(value, f"--{name}")
        if (value is None and name in OPTIONAL) or (name in AUTOMATIC and value == AUTO):
            continue
        if name in WHOLE and (not _number(value) or value != int(value) or value < WHOLE[name]):
            none = ", or '$None' (in cmd \"$None\") for the stored one" if name in OPTIONAL else ""
            none += f", or {AUTO}" if name in AUTOMATIC else ""
            raise UserError(f"--{name} {value}: expected a whole number of at least {WHOLE[name]}{none}")
        if name in REAL:
            low, high = REAL[name]
            if not _number(value) or not low <= value <= high or (value == low and name in ABOVE_ZERO):
                above = "above" if name in ABOVE_ZERO else "of at least"
                raise UserError(f"--{name} {value}: expected a number {above} {low:g} and at most {high:g}")
    for sentence in unused_options(sys.argv, options):
        logger.warning("note     %s", sentence)


def choose(options: Mapping[str, Any], name: str, option: str) -> Any:
    """Return the entry of a config's dictionary that an option names.

    Raises:
        UserError: unknown entry; lists the existing ones.
    """
    if name not in options:
        raise UserError(f"{option} {name}: unknown; choose from {', '.join(options)}")
    return options[name]


def switch(value: Any, option: str, or_else: str = "") -> bool:
    """Return the boolean given by true, True, false or False, as a bool or a text.

    Args:
        value: as given.
        option: name of the option.
        or_else: a further value that the option may have, for the message.

    Raises:
        UserError: any other value.
    """
    text = str(value).lower()
    if text not in ("true", "false"):
        raise UserError(f"{option} {value}: expected true{', false or ' + or_else if or_else else ' or false'}")
    return text == "true"


def checked_tags(tags: Any, **more: str) -> dict[str, Any]:
    """Return the tags of a run together with `more`.

    Raises:
        UserError: the tags are not a dictionary.
    """
    if not isinstance(tags, Mapping):
        raise UserError(f"--tags {tags}: expected a dictionary, as in \"{{'site': 'a'}}\"")
    return {**tags, **more}


def with_switches(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options, those that are true or false converted to bool."""
    return {name: switch(value, f"--{name}") if name in SWITCHES else value for name, value in options.items()}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12
