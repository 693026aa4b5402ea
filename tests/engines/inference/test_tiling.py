"""Tiles against one pass over the whole image."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import MetaTensor, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn.utils import prune

from engines import TiledInferer
from engines.inference.tiling import execution as tiling_run
from engines.inference.tiling import memory as tiling_memory
from engines.inference.tiling.memory import GB, LiveBytes
from engines.inference.tiling.steps import measured, runs
from engines.inference.tiling.tiled_inferer import is_gray
from nets import FCN, DeepLabV3, Dilation10, ValidUNet
from nets.resize import upsample
from transforms.errors import UserError

TILEABLE = [(make, stage) for make in (FCN, Dilation10, ValidUNet) for stage in make.stages]
ONE_STAGE = [(FCN, "fcn8"), (Dilation10, "global"), (ValidUNet, "unet")]
EVERY = [*TILEABLE, (DeepLabV3, "deeplabv3")]
FULL_SIZE = (4560, 2864)
MB = 1 / 1024


def build(make: Callable[..., nn.Module], stage: str, width: float = 0.0625, classes: int = 4) -> nn.Module:
    """A network whose weights, those that start at zero or as the identity included, are away from their start."""
    torch.manual_seed(0)
    network = make(classes, width=width).eval()
    network.set_stage(stage)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


def image(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole_pass(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x)


def assert_same(tiled: Tensor, whole: Tensor) -> None:
    """Equal to 1e-5 of the largest logit, and in every label that rounding cannot decide."""
    scale = float(whole.abs().max())
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5 * scale)
    first, second = whole.topk(2, dim=1).values.unbind(1)
    clear = first - second > 2e-5 * scale
    assert clear.float().mean() > 0.99
    assert torch.equal(tiled.argmax(1)[clear], whole.argmax(1)[clear])


class TilesSpy:
    """Counts the tiles that a network's steps are run on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.computed: list[int] = []
        self.tiles: list[int] = []
        run_step = tiling_run.run_step

        def spy(step: Any, run: Any, source: Any, grid: Any, *rest: Any) -> int:
            self.tiles.append(len(grid[0]) * len(grid[1]))
            self.computed.append(run_step(step, run, source, grid, *rest))
            return self.computed[-1]

        monkeypatch.setattr(tiling_run, "run_step", spy)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> TilesSpy:
    return TilesSpy(monkeypatch)


@pytest.mark.parametrize(("make", "stage"), EVERY, ids=lambda value: getattr(value, "__name__", value))
class TestExactness:
    @pytest.mark.parametrize("size", [(303, 277), (141, 330)], ids=str)
    def test_tiles_of_several_sizes_are_one_whole_pass(self, make, stage, size, spy, caplog) -> None:
        network = build(make, stage)
        x = image(1, 3, *size)
        whole = whole_pass(network, x)
        for memory in (2 * MB, 6 * MB, 2):
            if make is not DeepLabV3 or memory > 2 * MB:  # less would be windows
                assert_same(TiledInferer(memory_gb=memory)(x, network), whole)
        assert len(set(spy.tiles)) > 1 or make is DeepLabV3
        assert not caplog.text

    def test_a_batch_is_its_images(self, make, stage) -> None:
        network = build(make, stage)
        x = image(2, 3, 205, 333)
        assert_same(TiledInferer(memory_gb=16 * MB)(x, network), whole_pass(network, x))

    @pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 9), (33, 31)], ids=str)
    def test_an_image_smaller_than_a_tile(self, make, stage, size) -> None:
        network = build(make, stage)
        x = image(2, 3, *size)
        whole = whole_pass(network, x)
        torch.testing.assert_close(TiledInferer(memory_gb=16 * MB)(x, network), whole, rtol=1e-4, atol=1e-5)

    def test_labels_are_those_of_the_logits(self, make, stage) -> None:
        network = build(make, stage)
        x = image(2, 3, 130, 190)
        logits = TiledInferer(memory_gb=8 * MB)(x, network)
        labels = TiledInferer(memory_gb=8 * MB, labels=True)(x, network)
        assert labels.dtype == torch.uint8
        assert torch.equal(labels, logits.argmax(1, keepdim=True).to(torch.uint8))

    def test_bfloat16(self, make, stage) -> None:
        network = build(make, stage).to(torch.bfloat16)
        x = image(1, 3, 200, 150).to(torch.bfloat16)
        tiled, whole = TiledInferer(memory_gb=4 * MB)(x, network), whole_pass(network, x)
        assert tiled.dtype == torch.bfloat16
        scale = float(whole.float().abs().max())
        torch.testing.assert_close(tiled.float(), whole.float(), rtol=0, atol=0.05 * scale)

    def test_air_is_computed_once(self, make, stage, spy) -> None:
        network = build(make, stage)
        x = torch.full((1, 3, 700, 600), -0.5)
        x[..., 200:360, :150] = image(3, 160, 150) * 0.1
        whole = whole_pass(network, x)
        assert_close_everywhere(TiledInferer(memory_gb=16 * MB)(x, network), whole)
        assert sum(spy.computed) < sum(spy.tiles)
        spy.computed.clear()
        spy.tiles.clear()
        assert_close_everywhere(TiledInferer(memory_gb=16 * MB, skip_air=False)(x, network), whole)
        assert sum(spy.computed) == sum(spy.tiles)

    @pytest.mark.parametrize("expanded", [True, False])
    def test_a_gray_image_goes_through_one_channel(self, make, stage, expanded) -> None:
        network = build(make, stage)
        seen = []
        x = image(2, 1, 205, 190).expand(-1, 3, -1, -1)
        x = x if expanded else x.clone()
        whole = whole_pass(network, x)
        inferer = TiledInferer(memory_gb=16 * MB)
        inferer(x[..., :9, :9], network)
        first = network.get_submodule("conv1" if make is DeepLabV3 else "conv1_1")
        first.register_forward_hook(lambda module, args, output: seen.append(args[0].shape[1]))
        assert_same(inferer(x, network), whole)
        assert set(seen) == {1}
        coloured = x.clone()
        coloured[1, 2, -1, -1] += 1
        assert_same(inferer(coloured, network), whole_pass(network, coloured))
        assert set(seen) == {1, 3}

    @pytest.mark.slow
    def test_a_full_mammogram(self, make, stage) -> None:
        network = build(make, stage)
        x = image(1, 3, *FULL_SIZE)
        assert_same(TiledInferer(memory_gb=0.5)(x, network), whole_pass(network, x))


def assert_close_everywhere(tiled: Tensor, whole: Tensor) -> None:
    torch.testing.assert_close(tiled, whole, rtol=0, atol=1e-5 * float(whole.abs().max()))


@settings(max_examples=15, deadline=None)
@given(
    height=st.integers(1, 260),
    width=st.integers(1, 260),
    kind=st.sampled_from(TILEABLE),
    memory=st.sampled_from([1 * MB, 4 * MB]),
    air=st.booleans(),
)
def test_any_size(
    height: int, width: int, kind: tuple[Callable[..., nn.Module], str], memory: float, air: bool
) -> None:
    network = build(*kind)
    x = image(1, 3, height, width)
    if air:
        x[..., width // 3 :] = 0.25
    assert_close_everywhere(TiledInferer(memory_gb=memory)(x, network), whole_pass(network, x))


@pytest.mark.parametrize(("make", "stage"), TILEABLE[:6], ids=lambda value: getattr(value, "__name__", value))
def test_the_halo_is_what_a_cell_sees(make, stage) -> None:
    """NaN beyond the halo does not reach the core, but NaN at its edge does: the halo is sufficient and tight."""
    network = build(make, stage)
    channels = 3
    for step, run in zip(measured(network, torch.zeros(1, 3, 8, 8)), runs(network), strict=True):
        halo, align = step.geometry.halo, step.geometry.align
        core = 4 * align
        for beyond, reached in ((halo, False), (halo - align, True)):
            x = torch.zeros(1, channels, core + halo + 2 * align, core + halo + 2 * align)
            x[..., core + beyond :] = torch.nan
            with torch.no_grad():
                outputs = [y[..., : core // stride] for y, stride in zip(run(x), step.strides, strict=True)]
            assert any(bool(y.isnan().any()) for y in outputs) is reached
        channels = step.channels[-1]


class Identity(nn.Module):
    """Shows its steps as a network does; every cell is written with what it reads."""

    tile_stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.pass_on = nn.Conv2d(1, 1, 3, padding=1, bias=False)
        nn.init.dirac_(self.pass_on.weight)

    def tile_steps(self) -> tuple[Callable[[Tensor], tuple[Tensor, ...]], ...]:
        return (lambda x: (self.pass_on(x),), lambda x: (self.pass_on(x),))

    def join(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.pass_on(self.pass_on(x))


@pytest.mark.parametrize("size", list(itertools.product([1, 2, 17, 130], repeat=2)), ids=str)
@pytest.mark.parametrize("skip_air", [True, False])
def test_the_identity_comes_back(size: tuple[int, int], skip_air: bool) -> None:
    x = torch.arange(size[0] * size[1], dtype=torch.float32).view(1, 1, *size)
    tiled = TiledInferer(memory_gb=0.001 * MB, skip_air=skip_air)(x, Identity())
    assert torch.equal(tiled, x)
    constant = torch.full((2, 1, *size), 3.0)
    assert torch.equal(TiledInferer(memory_gb=0.001 * MB, skip_air=skip_air)(constant, Identity()), constant)


def test_every_pixel_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write = tiling_run.Store.write

    def counted(self, number, tile, at) -> None:
        written.append((tuple(self.sizes[number]), at))
        write(self, number, tile, at)

    monkeypatch.setattr(tiling_run.Store, "write", counted)
    network = build(ValidUNet, "unet")
    TiledInferer(memory_gb=2 * MB)(image(1, 3, 301, 477), network)
    count = torch.zeros(301, 477)
    for size, at in written:
        assert size == (301, 477)
        count[at] += 1
    assert len(written) > 3
    assert torch.equal(count, torch.ones(301, 477))


def test_windows_cover_as_much_but_differ() -> None:
    network = build(Dilation10, "global")
    x = image(1, 3, 400, 300)
    whole = whole_pass(network, x)
    windows = SlidingWindowInferer((128, 128), overlap=0.25, mode="gaussian")(x, network).detach()
    tiled = TiledInferer(memory_gb=4 * MB)(x, network)
    assert windows.shape == tiled.shape == whole.shape
    assert (windows - whole).abs().max() > 1000 * (tiled - whole).abs().max()


@pytest.mark.parametrize(("make", "stage"), ONE_STAGE, ids=lambda value: getattr(value, "__name__", value))
def test_memory_does_not_grow_with_the_image(make, stage) -> None:
    """Except for maps at 1/8 of the image and less, and the result."""
    network = build(make, stage)
    largest = []
    for height in (480, 1440):
        x = image(1, 3, height, 320)
        seen = 0

        def note(module, args, output) -> None:
            nonlocal seen
            if args[0].shape[1] != 4:  # class scores are joined whole
                seen = max(seen, output.numel())

        hooks = [layer.register_forward_hook(note) for layer in network.modules() if not list(layer.children())]
        TiledInferer(memory_gb=8 * MB, labels=True)(x, network)
        for hook in hooks:
            hook.remove()
        largest.append(seen)
    assert largest[1] <= 1.1 * largest[0]


@pytest.mark.parametrize(("make", "stage"), ONE_STAGE, ids=lambda value: getattr(value, "__name__", value))
def test_memory_is_kept_to(make, stage) -> None:
    network = build(make, stage)
    x = image(1, 3, 1100, 900)
    inferer = TiledInferer(memory_gb=24 * MB, labels=True)
    inferer(x[..., :64, :64], network)  # measures the steps
    with LiveBytes() as live:
        inferer(x, network)
    air = 3 * x[0].numel() * 4  # looking for air
    assert live.peak < 24 * MB * GB + air
    assert live.largest < 1100 * 900 * 4 * 4  # no logits of full size


@pytest.mark.parametrize("size", [(560, 24), (553, 24), (560, 17), (555, 23)], ids=str)
@pytest.mark.parametrize("labels", [False, True])
def test_strips_are_enlarged_as_the_whole(size: tuple[int, int], labels: bool) -> None:
    """70 rows of scores are three strips; the first size is exactly eight times as large.

    For maps as small as the last strip, torch sums in another order.
    """
    torch.manual_seed(0)
    scores = torch.randn(2, 4, 70, 3)
    cpu = torch.device("cpu")
    expected = upsample(scores, 8)[..., : size[0], : size[1]]
    got = tiling_run.enlarge(scores, 8, size, tiling_run.Devices(cpu, cpu, GB, labels))
    if labels:
        assert torch.equal(got, expected.argmax(1, keepdim=True).to(torch.uint8))
    else:
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_logits_of_full_size_are_not_made_for_labels() -> None:
    network = build(FCN, "fcn8", classes=9)
    x = image(1, 3, 600, 800)
    for labels in (True, False):
        inferer = TiledInferer(memory_gb=16 * MB, labels=labels, skip_air=False)
        inferer(x[..., :64, :64], network)
        with LiveBytes() as live:
            inferer(x, network)
        assert (live.largest < 600 * 800 * 9 * 4) is labels


def test_out_of_memory_halves_the_tile(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(Dilation10, "front")
    x = image(1, 3, 300, 260)
    rows = Dilation10._rows

    def limited(self: Dilation10, table: Any, y: Tensor) -> Tensor:
        if y.shape[-1] * y.shape[-2] > 150 * 150:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return rows(self, table, y)

    whole = whole_pass(network, x)
    inferer = TiledInferer(memory_gb=1)
    inferer(x[..., :16, :16], network)
    monkeypatch.setattr(Dilation10, "_rows", limited)
    assert_same(inferer(x, network), whole)
    assert "out of memory with tiles of" in caplog.text
    assert "trying half of that" in caplog.text


def test_out_of_memory_on_the_way_counts_no_part_twice(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build(DeepLabV3, "deeplabv3")
    x = image(1, 3, 900, 700)
    x[..., :400, :] *= 20  # would be seen in the mean if the first tile counted twice
    whole = whole_pass(network, x)
    convolve, calls = nn.Conv2d.forward, []

    def limited(self: nn.Conv2d, y: Tensor) -> Tensor:
        calls.append(y.shape)
        if self.kernel_size == (7, 7) and len(calls) == 2 and y.device.type == "cpu":
            raise torch.OutOfMemoryError("out of memory")
        return convolve(self, y)

    inferer = TiledInferer(memory_gb=24 * MB)
    inferer(x[..., :64, :64], network)
    monkeypatch.setattr(nn.Conv2d, "forward", limited)
    assert_same(inferer(x, network), whole)
    assert "trying half of that" in caplog.text


def test_out_of_memory_for_good_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(Dilation10, "front")
    inferer = TiledInferer(memory_gb=1)
    inferer(image(1, 3, 16, 16), network)

    def never(self, table, y) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Dilation10, "_rows", never)
    with pytest.raises(torch.OutOfMemoryError):
        inferer(image(1, 3, 90, 90), network)


def test_other_errors_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"FCN needs \(N, 3, H, W\), got \(1, 1, 32, 32\)"):
        TiledInferer()(torch.zeros(1, 1, 32, 32), build(FCN, "fcn8"))
    with pytest.raises(ValueError, match="has no pixels"):
        TiledInferer(skip_air=False)(torch.zeros(1, 3, 0, 32), build(FCN, "fcn8"))
    with pytest.raises(ValueError, match="memory_gb must be above 0, got 0"):
        TiledInferer(memory_gb=0)


def test_norms_that_turn_a_channel_around() -> None:
    """The stem is max-pooled before its norm, whose weights may be negative or zero."""
    network = build(DeepLabV3, "deeplabv3")
    with torch.no_grad():
        network.norm1.weight.copy_(torch.tensor([1, -1, 0, -2, 0.5, -0.1, 3, -3]))
    x = image(1, 3, 303, 277)
    assert_same(TiledInferer(memory_gb=16 * MB)(x, network), whole_pass(network, x))


def unet() -> nn.Module:
    torch.manual_seed(0)
    return UNet(2, 3, 4, channels=(4, 8, 8, 8), strides=(2, 2, 2)).eval()


@pytest.mark.parametrize("labels", [True, False])
def test_another_network_is_run_whole_if_it_fits(labels: bool, caplog: pytest.LogCaptureFixture) -> None:
    network = unet()
    x = image(2, 3, 96, 128)
    whole = whole_pass(network, x)
    result = TiledInferer(memory_gb=1, labels=labels)(x, network)
    assert torch.equal(result, whole.argmax(1, keepdim=True).to(torch.uint8) if labels else whole)
    assert not caplog.text


def test_another_network_that_does_not_fit_gets_windows_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    result = TiledInferer(memory_gb=2 * MB)(image(1, 3, 300, 200), unet())
    assert result.shape == (1, 4, 300, 200)
    assert "UNet is not exact in tiles, and an image of 300 x 200 does not fit into 0.00 GB" in caplog.text


def test_the_warning_comes_once_for_each_network(caplog: pytest.LogCaptureFixture) -> None:
    inferer, network = TiledInferer(memory_gb=2 * MB), unet()
    for size in ((300, 200), (310, 200)):
        inferer(image(1, 3, *size), network)
    assert [record.levelname for record in caplog.records if "not exact" in record.message] == ["WARNING"]
    inferer(image(1, 3, 300, 200), Softmax(unet()))
    assert len([record for record in caplog.records if "not exact" in record.message]) == 2


class Greedy(nn.Module):
    """Takes more memory than can be counted beforehand, as libraries do: images above a size are refused."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "meta" and x[0, 0].numel() > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.conv(x)


def test_out_of_memory_in_a_whole_pass_leads_to_windows_and_to_smaller_ones(caplog: pytest.LogCaptureFixture) -> None:
    x = image(1, 3, 300, 1100)
    network = Greedy(550 * 550)
    with pytest.raises(torch.OutOfMemoryError):
        network(torch.zeros(1, 3, 700, 700))
    roomy = Greedy(10**7)
    assert torch.equal(TiledInferer(memory_gb=1)(x, roomy), whole_pass(roomy, x))
    assert not caplog.text
    result = TiledInferer(memory_gb=1)(x, network)
    assert result.shape == (1, 4, 300, 1100)
    for text in ("a whole image of 300 x 1100", "windows of 1024 x 1024", "trying windows of 512 x 512"):
        assert text in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        TiledInferer(memory_gb=1)(x, Greedy(60 * 60))


def test_a_function_is_counted_on_a_part_of_the_image() -> None:
    assert torch.equal(TiledInferer()(torch.ones(1, 1, 40, 50), lambda x: 2 * x), torch.full((1, 1, 40, 50), 2.0))
    x = image(1, 1, 300, 200)
    torch.testing.assert_close(TiledInferer(memory_gb=0.2 * MB)(x, lambda x: 2 * x), 2 * x)
    assert torch.equal(TiledInferer()(x, lambda x, factor: factor * x, factor=3), 3 * x)


def test_the_unpadded_unet_answers_for_the_centre() -> None:
    torch.manual_seed(0)
    network = ValidUNet(3, width=0.0625, padded=False).eval()
    x = image(1, 3, 348, 476)
    tiled = TiledInferer(memory_gb=2 * MB)(x, network)
    assert tiled.shape[-2:] == (164, 292)
    assert_same(tiled, whole_pass(network, x))


def test_measuring_leaves_the_network_as_it_is() -> None:
    network = build(DeepLabV3, "deeplabv3")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    TiledInferer(memory_gb=12 * MB)(image(1, 3, 200, 100), network)
    TiledInferer(memory_gb=1 * MB)(image(1, 3, 200, 100), network)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_new_stage_is_noticed() -> None:
    network = build(FCN, "fcn32")
    inferer = TiledInferer()
    x = image(1, 3, 70, 70)
    inferer(x, network)
    network.set_stage("fcn8")
    assert_same(inferer(x, network), whole_pass(network, x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_gray_is_told_from_colour(dtype: torch.dtype) -> None:
    gray = torch.rand(2, 1, 9, 7, dtype=dtype)
    assert is_gray(gray.expand(-1, 3, -1, -1))
    repeated = gray.repeat(1, 3, 1, 1).requires_grad_()
    assert is_gray(repeated)
    colour = repeated.detach().clone()
    colour[1, 2, 8, 6] += 1
    assert not is_gray(colour)


def test_meta_tensors_stay_such() -> None:
    network = build(FCN, "fcn8")
    x = MetaTensor(image(1, 3, 40, 40), meta={"name": "a"})
    result = TiledInferer()(x, network)
    assert isinstance(result, MetaTensor)
    assert result.meta["name"] == "a"


@pytest.mark.parametrize("number", [1, 2])
def test_collated_meta_data_stay_as_they_are(number: int) -> None:
    items = [{"image": MetaTensor(image(3, 40, 36), affine=(k + 2) * torch.eye(4))} for k in range(number)]
    batch = list_data_collate(items)["image"]
    result = TiledInferer(memory_gb=2 * MB)(batch, build(FCN, "fcn8"))
    assert result.is_batch
    assert [float(one.affine[0, 0]) for one in result] == [2.0, 3.0][:number]


class Softmax(nn.Module):
    """A wrapper that calls its part `module`, as some do that change nothing."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        return self.module(x).softmax(1)


class Shifted(FCN):
    """A subclass with another pass."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - 3)


@pytest.mark.parametrize("kind", ["wrapper", "subclass", "hook", "replaced"])
def test_what_a_network_does_beside_its_parts_is_not_left_out(kind: str) -> None:
    make = Shifted if kind == "subclass" else FCN
    network = build(make, "fcn8")
    if kind == "wrapper":
        network = Softmax(network)
    elif kind == "hook":
        network.register_forward_hook(lambda module, args, logits: logits.softmax(1))
    elif kind == "replaced":
        network.forward = lambda x, plain=network.forward: plain(x).softmax(1)
    x = image(1, 3, 64, 48)
    torch.testing.assert_close(TiledInferer()(x, network), whole_pass(network, x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("make", "stage"), EVERY)
def test_a_watched_or_pruned_network_is_run_as_it_is(make, stage) -> None:
    """A hook may look at values, which the network on the meta device lacks, or hold what cannot be copied."""
    network, seen, lock = build(make, stage), [], threading.Lock()
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    first.register_forward_hook(lambda module, args, y: seen.append(y.mean().item()) if lock else None)
    prune.l1_unstructured(first, "weight", amount=0.3)
    x = image(1, 1, 250, 240).expand(-1, 3, -1, -1)
    whole, before = whole_pass(network, x), len(seen)
    assert_same(TiledInferer(memory_gb=8 * MB)(x, network), whole)
    assert len(seen) > before


@pytest.mark.parametrize("compiled", [torch.jit.script, lambda network: torch.jit.trace(network, image(1, 3, 64, 48))])
def test_torchscript_of_this_process(compiled: Callable[[nn.Module], Callable[[Tensor], Tensor]]) -> None:
    network, x = build(FCN, "fcn8"), image(1, 3, 250, 240)
    torch.testing.assert_close(TiledInferer()(x, compiled(network)), whole_pass(network, x), rtol=0, atol=1e-5)


class Patches(nn.Module):
    """Takes sides of multiples of 14 only, and says so by an assertion."""

    def forward(self, x: Tensor) -> Tensor:
        assert not x.shape[-1] % 14
        assert not x.shape[-2] % 14
        return 2 * x


def test_a_network_that_takes_certain_sizes_is_not_asked_about_others() -> None:
    x = image(1, 3, 126, 140)
    assert torch.equal(TiledInferer()(x, Patches()), 2 * x)


def test_a_stride_for_each_axis() -> None:
    network, x = UNet(2, 3, 4, (8, 8, 16), ((2, 1), (2, 2))).eval(), image(1, 3, 40, 44)
    torch.testing.assert_close(TiledInferer()(x, network), whole_pass(network, x), rtol=0, atol=1e-6)


def test_of_several_results_that_of_full_size_is_taken() -> None:
    class Deep(nn.Module):
        def forward(self, x: Tensor) -> list[Tensor]:
            return [x[..., ::2, ::2], 2 * x]

    x = image(1, 3, 32, 32)
    assert torch.equal(TiledInferer()(x, Deep()), 2 * x)


def test_what_is_no_logits_is_refused_with_a_sentence() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"out": x}

    with pytest.raises(UserError, match=r"Odd turns images \(1, 3, 32, 32\) into dict; expected logits"):
        TiledInferer()(image(1, 3, 32, 32), Odd())


def test_files_read_before_do_not_count_as_memory_in_use(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "max").write_text(f"{2 * GB}\n")
    (tmp_path / "current").write_text(f"{2 * GB - 10}\n")
    monkeypatch.setattr(tiling_memory, "CGROUPS", ((str(tmp_path / "max"), str(tmp_path / "current")),))
    assert tiling_memory.free_memory() == 10
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {GB}\n")
    assert tiling_memory.free_memory() == GB + 10
    (tmp_path / "memory.stat").write_text(f"inactive_file 7\ntotal_inactive_file {GB // 2}\n")
    assert tiling_memory.free_memory() == GB // 2 + 10


def test_it_can_be_named_in_a_config() -> None:
    config = {"inferer": {"_target_": "engines.TiledInferer", "memory_gb": 1.5}}
    inferer = ConfigParser(config).get_parsed_content("inferer")
    assert isinstance(inferer, TiledInferer)
    assert inferer.memory_gb == 1.5
