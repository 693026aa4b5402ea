"""Third-party networks: accepted sizes, several outputs, and refusals."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from monai.bundle import run
from monai.networks.nets import AttentionUnet, DynUNet, SegResNet, UNet
from repository import ROOT
from torch import Tensor, nn

from engines import PaddedInferer, WeightedCrossEntropy
from engines.base.network_file import read_rows
from engines.inference.any_network import trial
from engines.inference.inferers import size_multiple
from engines.records.tables import read_csv
from engines.training.plan import at_stage
from nets import FCN
from nets.resize import upsample
from scripts import bundles
from scripts.sharing.program import as_exported
from transforms.errors import UserError, user_error


class Deep(nn.Module):
    """Logits of full, half and quarter size; takes multiples of 4; with batch normalization."""

    def __init__(self, classes: int = 3, channels: int = 3) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.heads = nn.ModuleList(nn.Conv2d(channels, classes, 1) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x = self.norm(x)
        x = x + upsample(F.avg_pool2d(x, 4), 4)  # sides that 4 does not divide do not fit
        return tuple(head(x[..., :: 2**n, :: 2**n]) for n, head in reversed(list(enumerate(self.heads))))


def test_sizes_are_found_by_trial_and_nothing_of_the_network_changes() -> None:
    attention = AttentionUnet(2, 3, 4, (4, 8, 16), (2, 2))
    segres = SegResNet(2, init_filters=8, in_channels=3, out_channels=4)
    assert [size_multiple(network) for network in (attention, segres, Deep(), FCN(4, width=0.02))] == [4, 8, 4, 1]
    network = Deep().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert trial(network).full == 2
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_unet_is_found_to_take_what_its_strides_say() -> None:
    network = UNet(2, 3, 4, channels=(4, 4, 4, 4, 4), strides=(2, 2, 2, 2), num_res_units=2)
    assert trial(network).multiple == size_multiple(network) == 16


def test_a_network_that_the_meta_device_does_not_take_is_run() -> None:
    class Looks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[-1] % 2 == 0
            assert float(x.sum()) == 0  # needs a number
            return x

    assert size_multiple(Looks()) == 2


def test_images_of_any_size_go_through_segresnet() -> None:
    network = SegResNet(2, init_filters=8, in_channels=3, out_channels=4).eval()
    with torch.no_grad():
        assert PaddedInferer()(torch.rand(1, 3, 41, 75), network).shape == (1, 4, 41, 75)


def test_several_outputs_go_into_the_loss_and_that_of_full_size_into_the_scores() -> None:
    network = at_stage(Deep(), ["deep"])
    image, label = torch.rand(2, 3, 10, 7), torch.randint(0, 3, (2, 1, 10, 7))
    loss_function = WeightedCrossEntropy([1.0, 0.5, 0.25])
    logits = PaddedInferer()(image, network.train())
    assert [part.shape for part in logits] == [(2, 3, 10, 7)] * 3
    each = [loss_function(part, label).item() for part in logits]
    loss = loss_function(logits, label)
    assert loss.item() == pytest.approx((each[0] + each[1] / 2 + each[2] / 4) / 1.75)
    loss.backward()
    assert all(p.grad is not None for p in network.parameters())
    network.eval()
    with torch.no_grad():
        alone = network(torch.rand(1, 3, 8, 8))
        assert alone.shape == (1, 3, 8, 8), "also for export and servers"
        assert PaddedInferer()(image[:1], network).shape == (1, 3, 10, 7)


@pytest.mark.parametrize("how", ["traced", "exported"])
def test_a_network_of_several_outputs_is_exported_for_any_size(how: str) -> None:
    network = at_stage(Deep(), ["deep"]).eval()
    example, image = torch.rand(2, 3, 16, 24), torch.rand(1, 3, 12, 20)
    traced: Any = torch.jit.trace(network, example) if how == "traced" else as_exported(network, example).module()
    with torch.no_grad():
        assert torch.equal(traced(image), network(image))


def test_stacked_outputs_of_dynunet_are_several() -> None:
    network = DynUNet(
        2, 3, 3, kernel_size=[3] * 4, strides=[1, 2, 2, 2], upsample_kernel_size=[2] * 3, filters=[4] * 4,
        deep_supervision=True, deep_supr_num=2,
    )  # fmt: skip
    logits = PaddedInferer()(torch.rand(1, 3, 40, 44), network.train())
    assert [part.shape for part in logits] == [(1, 3, 40, 44)] * 3


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x.mean((2, 3)), r"into \(1, 3\); expected logits"),
        (lambda x: {"out": x}, r"into dict; expected logits"),
        (lambda x: (x, torch.zeros(())), r"\(\); expected logits"),
        (lambda x: [x, x[:, :2]], r"expected the same number of classes"),
        (lambda x: [], r"expected logits"),
        (lambda x: x[..., 1:-1, 1:-1], r"expected logits of the image's height and width"),
    ],
    ids=["flat", "dict", "a loss", "classes", "nothing", "smaller"],
)
def test_what_is_no_logits_is_refused_in_one_line(output: Callable[[Tensor], Any], message: str) -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return output(x)

    with pytest.raises(UserError, match=message) as raised:
        PaddedInferer()(torch.zeros(1, 3, 16, 16), Net())
    assert "\n" not in str(raised.value)


def test_another_number_of_classes_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="the network returns 2 classes; the data set has 3"):
        WeightedCrossEntropy([1.0, 1.0, 1.0])(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4))


@pytest.fixture
def own_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle made by `scripts.bundles new`, outside of the repository."""
    root = tmp_path / "repository"
    shutil.copytree(ROOT / "bundles" / "common", root / "bundles" / "common")
    shutil.copyfile(ROOT / "LICENSE", root / "LICENSE")
    monkeypatch.setattr(bundles, "project_root", lambda: root)
    words = ["new", "mine", "--network", "monai.networks.nets.SegResNet", "init_filters=8", "--title", "Mine"]
    assert bundles.main(words) == 0
    return root / "bundles" / "mine"


def test_a_network_of_one_s_own_is_checked_trained_evaluated_and_used(
    own_bundle: Path, process_state: None, tiny_dataset: Path, tmp_path: Path, store: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"

    def go(config: str, run_id: str = "run", **options: Any) -> None:
        options = {"dataset_dir": str(tiny_dataset), "output_dir": str(out), **options}
        run(run_id=run_id, config_file=str(own_bundle / "configs" / f"{config}.json"), **options)

    slim = {"image_height": "$None", "batch_size": 4, "crop_size": 20, "max_epochs": 1, "tracking_uri": str(store)}
    go("train", "check", **slim)
    said = capfd.readouterr().out
    assert "validate::dataloader: whole image (1, 3, 40, 32) → logits (1, 3, 40, 32)" in said
    assert "ready to train" in said
    go("train", **slim)
    assert [row["model"] for row in read_csv(out / "eval" / "scores.csv")] == ["all background", "segresnet"]
    go("evaluate", tracking_uri=str(store))
    go("inference", dataset_dir=str(tiny_dataset / "images" / "s000_L_CC.npy"))
    assert (out / "eval" / "segmentations" / "s000_L_CC_labels.png").is_file()
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    runs = client.search_runs([client.get_experiment_by_name("mammoseg").experiment_id])
    tagged = [r.data.tags for r in runs if "stage" in r.data.tags]
    assert len(tagged) == 2
    expected = read_rows(own_bundle).tags("segresnet")
    assert expected == {"bundle": "mine", "title": "Mine", "order": "1.0"}
    assert all(tags.items() >= expected.items() for tags in tagged)


def test_check_finds_what_dies_at_the_first_validation(
    own_bundle: Path, process_state: None, tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Crops of 16 go through, the whole image of 40 x 32 does not."""
    path = own_bundle / "configs" / "train.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["validate"]["inferer"]["inferer"] = {"_target_": "monai.inferers.SimpleInferer"}
    config["validate"]["preprocessing"]["transforms"][0]["image_height"] = 45
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(Exception, match="ConfigExpression") as raised:
        run(
            run_id="check", config_file=str(path), dataset_dir=str(tiny_dataset), output_dir=str(tmp_path / "out"),
            image_height="$None", crop_size=16, batch_size=4,
        )  # fmt: skip
    assert "1 problem found" in str(user_error(raised.value))
    assert "problem  validate::dataloader" in capfd.readouterr().out
