"""What `torch.compile` makes of a network, beside the network: names of weights, copies and exports stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from transforms.errors import UserError


class Compiled:
    """The compiled form of the network that was asked for last; compiled when it is first called."""

    def __init__(self) -> None:
        self._network: Any = None
        self._call: Callable[..., Any] | None = None

    def of(self, network: Callable[..., Any]) -> Callable[..., Any]:
        """A function that gives what the network gives, to rounding.

        When called it raises UserError where nothing can be compiled.
        """
        if self._network is not network:
            compiled = torch.compile(network)

            def call(*args: Any, **kwargs: Any) -> Any:
                try:
                    return compiled(*args, **kwargs)
                except RuntimeError as error:
                    if not type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
                        raise
                    said = " ".join(str(error).split())[:200]
                    raise UserError(
                        f"--compile true: torch.compile failed here ({said}); it needs a C++ compiler on a CPU and "
                        "Triton on a GPU: install what is missing, or give --compile false"
                    ) from error

            self._network, self._call = network, call
        assert self._call is not None
        return self._call

    def __deepcopy__(self, memo: Any) -> Compiled:
        return Compiled()

    def __getstate__(self) -> dict[str, Any]:
        return {"_network": None, "_call": None}
