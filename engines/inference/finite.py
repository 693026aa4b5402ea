"""Check for finite scores: NaN would silently become class 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from engines.records.checkpoint import explained
from transforms.errors import UserError, user_error


def finite(logits: Tensor) -> Tensor:
    """Return the logits unchanged, after one pass over them without a copy.

    Raises:
        UserError: one is NaN or infinite.
    """
    if logits.numel() and logits.device.type != "meta" and not all(map(torch.isfinite, torch.aminmax(logits))):
        raise UserError(
            "the network gives scores that are NaN or infinite; its weights are damaged, its training diverged (try a "
            "lower --learning_rate), or the image holds such values"
        )
    return logits


@contextmanager
def naming_case(engine: Any) -> Iterator[None]:
    """Prefix errors about scores with the name of the engine's current image; explain weights that do not fit.

    Raises:
        UserError: in place of the error raised inside.
    """
    try:
        with explained():
            yield
    except Exception as error:
        cause = user_error(error)
        name = case_at(engine)
        if cause is None or name is None or not str(cause).startswith("the network gives"):
            raise
        raise UserError(f"{name}: {cause}") from error


def case_at(engine: Any) -> str | None:
    """Return the name of the first image of an engine's current batch."""
    batch = getattr(engine.state, "batch", None)
    first = batch[0] if isinstance(batch, list) and batch else batch
    if not isinstance(first, Mapping):
        return None
    name = first.get("case", first.get("name"))
    return str(name[0]) if isinstance(name, list | tuple) and name else None if name is None else str(name)
