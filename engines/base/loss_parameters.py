"""Parameters of the loss, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flat_parameters(used: Mapping[str, Any]) -> dict[str, str]:
    """Return `SegmentationLoss.parameters_used` as two texts for tables and MLflow: class weights, and the rest."""
    weights = used.get("class_weights")
    others = {key: value for key, value in used.items() if key != "class_weights"}
    return {
        "class_weights_used": "none" if weights is None else ", ".join(f"{weight:.4f}" for weight in weights),
        "loss_parameters": ", ".join(f"{key} {_text(value)}" for key, value in others.items()),
    }


def _text(value: Any) -> str:
    return f"[{', '.join(map(_text, value))}]" if isinstance(value, (list, tuple)) else f"{value:g}"
