"""The device that a run computes on, checked before anything is built for it."""

from __future__ import annotations

import torch

from transforms.errors import UserError


def check_device(device: torch.device | str) -> None:
    """Raise UserError unless this machine has the device."""
    remedy = "give cpu, or omit the option for the first GPU if there is one"
    try:
        wanted = torch.device(device)
    except (RuntimeError, TypeError):
        raise UserError(f"--device {device}: not a PyTorch device such as cpu, cuda or cuda:1; {remedy}") from None
    number = torch.cuda.device_count()
    if wanted.type == "cuda" and (wanted.index or 0) >= number:
        cuda = "" if torch.version.cuda or torch.version.hip else " is built without CUDA and"
        raise UserError(
            f"--device {device}: PyTorch{cuda} finds {number or 'no'} GPU{'s' * (number > 1)} here; {remedy}"
        )
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"--device {device}: cannot be used ({str(error).splitlines()[0][:200]}); {remedy}") from None
