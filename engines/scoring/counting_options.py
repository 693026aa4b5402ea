"""Options by which lesions are counted after a training: those of the training, unless others are given."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from engines.scoring.lesion_classes import lesion_classes
from engines.scoring.matching import Rule

logger = logging.getLogger("mammoseg")

DEFAULTS: dict[str, Any] = {"lesion_class": None, "hit": "iou", "min_lesion_size": 0}
"""Values of these options in trainings of versions that did not record them; None: lesion classes by name."""


def counting_option(settings: Mapping[str, Any], name: str) -> Any:
    """Return the default of an option of `DEFAULTS` in evaluation and inference: its value in the training.

    Args:
        settings: content of models/<weights>.json. If it has no lesion class, those of its operating point are used.
        name: "lesion_class", "hit" or "min_lesion_size".
    """
    if name == "lesion_class" and name not in settings:
        point = settings.get("operating_point")  # one that is no object is reported by `decision_of`
        return point.get("lesion_classes") if isinstance(point, Mapping) else None
    value = settings.get(name)
    return DEFAULTS[name] if value is None else value


def lesions_of(settings: Mapping[str, Any], lesion_class: Any) -> tuple[int, ...]:
    """Return the numbers of the lesion classes of weights.

    Args:
        settings: content of models/<weights>.json.
        lesion_class: see `lesion_classes`.

    Raises:
        UserError: one of them is not a class of the weights.
    """
    labels = settings["labels"]
    return tuple(lesion_classes([labels[key] for key in sorted(labels, key=int)], lesion_class))


def tell_lesions(settings: Mapping[str, Any], lesion_class: Any, names: Sequence[str] | None = None) -> None:
    """Log the lesion classes, and whether name, training or option specifies them.

    Args:
        settings: content of models/<weights>.json.
        lesion_class: see `lesion_classes`.
        names: names of the classes; by default those of the weights.
    """
    if names is None:
        names = [settings["labels"][str(number)] for number in lesions_of(settings, lesion_class)]
    by = "by name" if lesion_class is None else _origin(settings, "lesion_class", lesion_class)
    logger.info("lesions   %s (%s); other classes: --lesion_class", ", ".join(names) or "no class", by)


def tell_rule(settings: Mapping[str, Any], options: Mapping[str, Any], rule: Rule) -> None:
    """Log the rule and where it comes from, if the training or an option specifies another than the general one.

    Args:
        settings: content of models/<weights>.json.
        options: "min_lesion_score", if not that of an operating point, as used.
        rule: the rule as used.
    """
    said = []
    if _is_special(settings, "hit", rule.hit):
        said.append(f"a hit is: {rule.text} ({_origin(settings, 'hit', rule.hit)})")
    size = rule.min_lesion_size
    if _is_special(settings, "min_lesion_size", size):
        about = f"lesions of fewer than {size} pixels are void" if size else "lesions of any size count"
        said.append(f"{about} ({_origin(settings, 'min_lesion_size', size)})")
    score = options.get("min_lesion_score")
    if score is not None and score == settings.get("min_lesion_score"):
        said.append(f"candidates are kept from a score of {score:g} on (as in the training)")
    if said:
        logger.info("rule      %s", "; ".join(said))


def _is_special(settings: Mapping[str, Any], name: str, value: Any) -> bool:
    return not (value == counting_option(settings, name) == DEFAULTS[name])


def _origin(settings: Mapping[str, Any], name: str, value: Any) -> str:
    return "as in the training" if value == counting_option(settings, name) else f"by --{name}"
