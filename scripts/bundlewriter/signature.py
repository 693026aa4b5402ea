"""Constructor arguments of a network: those given, and the common ones under the names its class uses."""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

from transforms.errors import UserError

FOUND = {
    "spatial_dims": (("spatial_dims", "dimensions", "dims", "ndim"), 2),
    "in_channels": (("in_channels", "input_channels", "in_chans", "in_ch", "n_channels"), 3),
    "out_channels": (("out_channels", "num_classes", "n_classes", "classes", "out_ch"), "@num_classes"),
}
"""What a network is told in any case: names of the argument, and its value. A class has the first that it takes."""

MODULES = {"conv_op": "$torch.nn.Conv2d", "norm_op": "$torch.nn.InstanceNorm2d", "nonlin": "$torch.nn.LeakyReLU"}
"""Arguments of networks that take their layers as classes, as nnU-Net's do; without the last two they have none."""


def network_definition(target: str, given: Sequence[str]) -> dict[str, Any]:
    """The `network_def` of a class, as in monai.networks.nets.AttentionUnet.

    Args:
        target: dotted name of the class.
        given: its arguments as NAME=VALUE; values are JSON, or else text, as "$(16, 32)" or "@num_classes".

    Raises:
        UserError: there is no such class, it takes no such argument, or one that it needs is missing.
    """
    parameters = _parameters(target)
    arguments = dict(map(_argument, given))
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in arguments:
        if name not in parameters and not takes_any:
            near = difflib.get_close_matches(name, parameters, n=3) or list(parameters)
            raise UserError(f"{name}: {target} takes no such argument; choose from {', '.join(near)}")
    for names, value in FOUND.values():
        known = next((name for name in names if name in parameters), None)
        if known is not None and not arguments.keys() & set(names):
            arguments[known] = value
    for name, value in MODULES.items():
        if name in parameters and "conv_op" in parameters:
            arguments.setdefault(name, value)
    missing = [
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and name not in arguments
    ]
    if missing:
        raise UserError(f"{target}: needs {', '.join(missing)}; give each as NAME=VALUE, such as channels=[16,32,64]")
    return {"_target_": target, **{name: arguments[name] for name in sorted(arguments, key=_place(parameters))}}


def _parameters(target: str) -> Mapping[str, inspect.Parameter]:
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise UserError(f"--network {target}: cannot be imported ({error}); install its package first") from None
    return inspect.signature(found).parameters


def _place(parameters: Mapping[str, Any]) -> Any:
    names = list(parameters)
    return lambda name: names.index(name) if name in names else len(names)


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"{text}: expected NAME=VALUE, an argument of the network such as channels=[16,32,64]")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, {"True": True, "False": False, "None": None}.get(value, value)
