"""The summary's command, and its receptive fields against the gradient of a real network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nets import summary


@pytest.mark.parametrize("name", summary.NETWORKS)
def test_every_network_prints(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary.main([name, "--width", "0.125", "--classes", "3"]) == 0
    text = capsys.readouterr().out
    assert "receptive field" in text
    assert "total parameters: " in text


def test_size_and_width_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    summary.main(["dilation10", "--size", "632", "--width", "0.5", "--classes", "7"])
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert " ".join(rows["conv6_1"]) == "17 7 1 SAME 4 79 79 256 2048 380 25692160"
    assert " ".join(rows["context10"]) == "29 3 1 SAME 1 79 79 7 7 165 448"


def test_an_illegal_size_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        summary.main(["valid_unet", "--size", "500"])
    assert exit_.value.code == 2
    assert "the next larger than 500 is 508" in capsys.readouterr().err


def test_receptive_field_is_where_the_gradient_reaches() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Conv2d(1, 1, 3, padding=2, dilation=2),
        nn.Conv2d(1, 1, 3, stride=2, padding=1),
        nn.Conv2d(1, 1, 3, padding=1),
    )
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    network[1] = nn.AvgPool2d(2)  # a maximum hands its gradient to one pixel alone
    x = torch.zeros(1, 1, 96, 96, requires_grad=True)
    network(x)[0, 0, 12, 12].backward()
    reached = int((x.grad[0, 0].abs().sum(0) > 0).sum())
    network[1] = nn.MaxPool2d(2, ceil_mode=True)
    rows = summary.summarise(network, network, torch.zeros(1, 1, 96, 96))
    assert rows[-1].receptive_field == reached == 24
