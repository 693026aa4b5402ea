"""Ensemble of a config's `members`: each network built by the inference.json of its own bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from engines.base.options import switch
from engines.inference.ensemble import Ensemble, Member
from engines.records.checkpoint import load_checkpoint
from engines.records.ensemble_members import CONFIG, Trained, trained_members
from nets.safe_load import reason
from transforms.errors import UserError, user_error

DISAGREEMENT = "disagreement"
"""The output format made from the members' differences."""


def ensemble(
    given: Any,
    device: torch.device | str = "cpu",
    image_height: int | None = None,
    memory_gb: float | None = None,
    formats: Sequence[str] | str = (),
) -> Ensemble:
    """Build and load the members of an ensemble.

    Args:
        given: see `trained_members`.
        image_height: the option, which must be None: each member has its own.
        formats: output formats; with "disagreement" it is computed.

    Raises:
        UserError: as `trained_members`; a height was given; or weights are damaged or do not fit.
    """
    if image_height is not None:
        raise UserError("--image_height: each member of an ensemble has its own; leave it out")
    members = [
        Member(
            _network(trained, device),
            trained.settings["image_height"],
            switch(trained.settings["mirror_averaging"], "--mirror_averaging"),
        )
        for trained in trained_members(given)
    ]
    return Ensemble(members, memory_gb, DISAGREEMENT in formats)


def _network(trained: Trained, device: torch.device | str) -> nn.Module:
    """Return the network, with its weights, as built by the bundle's own inference config."""
    path = trained.bundle / CONFIG
    parser = ConfigParser()
    parser.read_config(str(path))
    parser.update({"output_dir": str(trained.folder), "weights": trained.weights, "device": torch.device(device)})
    try:
        network = parser.get_parsed_content("network")
        network.load_state_dict(load_checkpoint(Path(parser.get_parsed_content("ckpt_path"))))
    except Exception as error:  # a config may raise anything
        cause = user_error(error)
        raise cause or UserError(
            f"--members: {trained.folder}: {path} does not build a network for its weights ({reason(error)}); name its "
            "bundle, as in 'unet=FOLDER'"
        ) from error
    return network
