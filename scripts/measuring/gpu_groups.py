"""Groups of `python -m scripts.benchmark gpu`, in order of priority; each group is a separate process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

NETWORKS = ("fcn", "unet", "dilation10", "deeplabv3")

STEPS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "tf32": {"tf32": True},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16"},
    "bf16, channels last": {"precision": "bf16", "channels_last": True},
    "bf16, channels last, checkpointing": {"precision": "bf16", "channels_last": True, "checkpointing": True},
}
COMPILED: dict[str, dict[str, Any]] = {
    "bf16, channels last, compiled": {"precision": "bf16", "channels_last": True, "compiled": True},
}
PASSES = {name: STEPS[name] for name in ("fp32", "tf32", "bf16", "bf16, channels last")}
LOOP: dict[str, dict[str, Any]] = {"as trained by default": {}}


@dataclass(frozen=True)
class Group:
    """Rows measured by one process.

    Attributes:
        kind: step, loop, image or compiled.
        network: name of the bundle.
        size: recipe, or "rows x columns" of an image.
        seconds: estimated duration, start included; groups that do not fit in the remaining time are skipped.
    """

    kind: str
    network: str
    size: str
    seconds: float

    @property
    def name(self) -> str:
        """Name in the file of rows."""
        return f"{self.kind} {self.network} {self.size}"

    @property
    def ways(self) -> dict[str, dict[str, Any]]:
        """Ways of computing: name → options."""
        return {"step": STEPS, "compiled": COMPILED, "image": PASSES, "loop": LOOP}[self.kind]


SMALL, LARGE = "1024 x 832", "3328 x 2560"
"""Image sizes that are segmented in one pass, and in tiles."""


def groups(tiny: bool = False) -> list[Group]:
    """Return all groups; `tiny` ones are for tests and take seconds on a CPU."""
    kinds = [
        ("loop", "quick", 15.0), ("step", "paper", 20.0), ("step", "quick", 10.0), ("loop", "paper", 25.0),
        ("image", SMALL, 10.0), ("image", LARGE, 15.0), ("compiled", "quick", 70.0), ("compiled", "paper", 90.0),
    ]  # fmt: skip
    return [
        Group(kind, network, size, 1.0 if tiny else seconds) for kind, size, seconds in kinds for network in NETWORKS
    ]
