"""Options of earlier versions: their replacements, and conversion of records made with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REPLACED = {
    "dice_weight": "--loss: dice_cross_entropy adds the Dice loss with a weight of 1, cross_entropy omits it; another "
    "weight: --loss dice_cross_entropy --losses::dice_cross_entropy::dice_weight 0.5",
}
"""Option of an earlier version → what to give instead."""

BEFORE = {"class_weights": "paper", "sampling": "image", "ema_decay": 0.0}
"""Options that trainings with `dice_weight` lacked → the value equivalent to what they did."""

SINCE = {
    **{"precision": "fp32", "channels_last": False, "checkpointing": False, "compile": False},
    **{"norm": "instance", "crop_draws": 0},
}
"""Options that earlier trainings lacked → the value equivalent to what they did."""


def upgraded(settings: Mapping[str, Any], now: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings of a training (models/model.json, progress.pt) under the names of today's options.

    Args:
        settings: as stored by this version or by one with `dice_weight`.
        now: settings of today's training, if they are to be compared with: parameters that an earlier version lacked,
            and that do not affect what it did, are taken from these.
    """
    new = {**{key: value for key, value in SINCE.items() if key in (now or {})}, **settings}
    if "dice_weight" not in new:
        return new
    now = now or {}
    weight = float(new.pop("dice_weight"))
    before = {"loss": "dice_cross_entropy" if weight else "cross_entropy", **BEFORE}
    parameters = {"loss_parameters": {**now.get("loss_parameters", {}), "dice_weight": weight}}
    unused = {key: now[key] for key in ("anywhere_share",) if key in now}
    return {**before, **parameters, **unused, **new}
