"""Network as an exported program: one graph for all sizes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from engines.inference.inferers import size_multiple


def as_exported(network: nn.Module, example: Tensor) -> ExportedProgram:
    """Export for any number of images, rows and columns, without stack traces of source files.

    The networks of `nets` pad internally, and torch finds their smallest size. MONAI's UNet takes multiples of the
    product of its strides, at least twice that product.
    """
    program = torch.export.export(network, (example,), dynamic_shapes=(_sides(size_multiple(network)),))
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


def _sides(multiple: int) -> dict[int, Any]:
    if multiple == 1:
        return dict.fromkeys((0, 2, 3), Dim.AUTO)
    return {0: Dim("images"), 2: multiple * Dim("rows", min=2), 3: multiple * Dim("columns", min=2)}
