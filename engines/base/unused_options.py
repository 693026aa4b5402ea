"""Options of a command line that have no effect together with the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engines.base.command_values import given_options

_WITHOUT_EFFECT: Mapping[str, tuple[str, tuple[str | None, ...]]] = {
    "anywhere_share": ("sampling", ("image",)),
    "balanced": ("sampling", ("class", "lesion")),
    "class_weights": ("loss", ("lesion_dice_cross_entropy", "tversky", "focal_tversky")),
    "momentum": ("solver", ("adamw",)),
    "lr_drop_factor": ("lr_schedule", ("cosine",)),
    "lr_drop_period": ("lr_schedule", ("cosine",)),
    "threshold_rule": ("threshold_from", (None,)),
    "threshold_share": ("threshold_from", (None, "validation")),
}
"""Option → another option, and its values with which the first is not used."""


def unused_options(words: Sequence[str], options: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each option without effect.

    Args:
        words: the command line; options of recipes are not reported.
        options: values of all options.
    """
    for name in dict.fromkeys(name for name, _ in given_options(words)):
        other, values = _WITHOUT_EFFECT.get(name, ("", ()))
        if other in options and options[other] in values:
            how = f"without --{other}" if options[other] is None else f"with --{other} {options[other]}"
            yield f"--{name} has no effect {how}"
