"""Constructor arguments of a network: the given ones, and common ones under the names that its class uses."""

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
"""Arguments that are always set: possible names, of which the first that the class accepts is used, and value."""

MODULES = {"conv_op": "$torch.nn.Conv2d", "norm_op": "$torch.nn.InstanceNorm2d", "nonlin": "$torch.nn.LeakyReLU"}
"""Arguments of networks that take layer classes, as nnU-Net's do; the last two default to no such layers."""


def network_definition(target: str, given: Sequence[str]) -> dict[str, Any]:
    """Return the `network_def` of a class such as monai.networks.nets.AttentionUnet.

    Args:
        target: dotted name of the class.
        given: arguments as NAME=VALUE; values are JSON, or else text such as "$(16, 32)" or "@num_classes".

    Raises:
        UserError: the class or an argument is unknown, or a required argument is missing.
    """
    parameters = _parameters(target)
    arguments = dict(map(_argument, given))
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in arguments:
        if name not in parameters and not takes_any:
            near = difflib.get_close_matches(name, parameters, n=3) or list(parameters)
            raise UserError(f"{name}: unknown argument of {target}; choose from {', '.join(near)}")
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
        raise UserError(f"{target}: missing {', '.join(missing)}; give each as NAME=VALUE, such as channels=[16,32,64]")
    return {"_target_": target, **{name: arguments[name] for name in sorted(arguments, key=_place(parameters))}}


def _parameters(target: str) -> Mapping[str, inspect.Parameter]:
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as error:
        raise UserError(f"--network {target}: cannot be imported ({error}); install its package first") from None
    try:
        return inspect.signature(found).parameters
    except (TypeError, ValueError):  # no class or function, or one of those that are written in C
        raise UserError(f"--network {target}: is {found!r}; specify a class of networks") from None


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
