"""The compiled form of a network, kept beside it, so that names of weights, copies and exports do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from transforms.errors import UserError


class Compiled:
    """The compiled form of the network requested last; compiled on the first call.

    Each crop size is compiled separately, since code for all sizes takes longer to compile and to run. An epoch's last
    batch may have fewer crops: it runs uncompiled, which takes a moment, whereas compiling again takes minutes.
    """

    def __init__(self) -> None:
        self._network: Any = None
        self._call: Callable[..., Any] | None = None
        self._crops: dict[torch.Size, int] = {}

    def of(self, network: Callable[..., Any], inputs: Tensor) -> Callable[..., Any]:
        """Return a function equal to the network, to rounding, for `inputs` (N, C, H, W).

        It is the network itself for fewer images than came first at their size. Calling it raises UserError if the
        network cannot be compiled.
        """
        if self._network is not network:
            self._crops.clear()
        if len(inputs) < self._crops.setdefault(inputs.shape[1:], len(inputs)):
            return network
        if self._network is not network:
            compiled = torch.compile(network, dynamic=False)

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
        return {"_network": None, "_call": None, "_crops": {}}
