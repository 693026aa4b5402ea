"""Weights and settings of a training: complete, undamaged and finite, or a one-line error."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from engines.inference.finite import finite, naming_case
from engines.inference.whole_image import WholeImageInferer
from engines.records.checkpoint import explained, save_checkpoint
from engines.records.output_folder import Output
from engines.records.trained_model import load_settings, weights_file
from transforms.errors import UserError

SETTINGS: dict[str, Any] = {
    "labels": {"0": "background", "1": "tumor"},
    "width": 0.5,
    "image_height": None,
    "mirror_averaging": False,
    "windowing": "voi",
    "flip": "none",
    "colour": False,
    "source_values": None,
}
WEIGHTS = {"w": torch.arange(20_000, dtype=torch.float32), "n": torch.tensor(3)}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """models/ of a training with one stage, `front`."""
    Output(tmp_path).save_stage("front", WEIGHTS, SETTINGS, {"mean_iou": float("nan")}, 3)
    return tmp_path / "models"


def damage(path: Path, count: int = 300) -> None:
    """Change bytes in the middle, where the numbers are."""
    content = bytearray(path.read_bytes())
    for at in range(len(content) // 2, len(content) // 2 + count):
        content[at] ^= 0x55
    path.write_bytes(bytes(content))


def without_digest(path: Path) -> None:
    record = json.loads(path.read_text())
    del record["weights_sha256"]
    path.write_text(json.dumps(record))


def test_round_trip(models: Path) -> None:
    settings = load_settings(models.parent)
    assert len(settings.pop("weights_sha256")) == 64
    assert settings == {**SETTINGS, "stage": "front", "epoch": 3, "validation": {"mean_iou": None}}
    assert weights_file(models.parent) == str(models / "model.pt")
    assert weights_file(models.parent, "front") == str(models / "front.pt")
    assert torch.equal(torch.load(models / "model.pt", weights_only=True)["w"], WEIGHTS["w"])
    assert (models / "model.pt").read_bytes() == (models / "front.pt").read_bytes()


def test_what_is_not_there(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trained model here"):
        load_settings(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"--weights global: not in .* choose from front, model"):
        load_settings(tmp_path, "global")
    with pytest.raises(UserError, match="available: front, model"):
        weights_file(tmp_path, "global")


@pytest.mark.parametrize("digest", [True, False], ids=["digest", "checksums alone"])
def test_changed_bytes_are_found(models: Path, digest: bool) -> None:
    damage(models / "front.pt")
    if not digest:
        without_digest(models / "front.json")
    with pytest.raises(UserError, match=r"front\.pt: damaged or truncated"):
        weights_file(models.parent, "front")


def test_other_weights_than_those_recorded_are_found(models: Path) -> None:
    save_checkpoint({"w": torch.zeros(5)}, models / "front.pt")
    with pytest.raises(UserError, match=r"not the file that was saved with front\.json"):
        weights_file(models.parent, "front")


def test_a_file_cut_short_is_found(models: Path) -> None:
    content = (models / "front.pt").read_bytes()
    without_digest(models / "front.json")
    for length in (0, 100, len(content) // 2, len(content) - 1):
        (models / "front.pt").write_bytes(content[:length])
        with pytest.raises(UserError, match=r"front\.pt: damaged or truncated"):
            weights_file(models.parent, "front")


def test_a_damaged_model_gives_way_to_the_same_weights_of_its_stage(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(models / "model.pt")
    with caplog.at_level(logging.WARNING, "mammoseg"):
        assert weights_file(models.parent) == str(models / "front.pt")
    assert "model.pt: damaged" in caplog.text
    damage(models / "front.pt")
    with pytest.raises(UserError, match=r"model\.pt: damaged or truncated"):
        weights_file(models.parent)


def test_a_kill_between_any_two_files_leaves_a_model(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second stage's files are written one by one; the model is the first stage's, or already the second's."""
    import engines.records.output_folder as module

    calls = {"save_checkpoint": module.save_checkpoint, "write_text": module.write_text}
    for kill_at in range(5):
        left = [kill_at]

        def stopping(name: str, left: list[int] = left) -> Any:
            def go(*args: Any) -> None:
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
                calls[name](*args)

            return go

        for name in calls:
            monkeypatch.setattr(module, name, stopping(name))
        try:
            Output(tmp_path).save_stage("context", {"w": torch.full((7,), float(kill_at))}, SETTINGS, {}, 1)
        except KeyboardInterrupt:
            assert kill_at < 4
        monkeypatch.undo()
        stage = load_settings(tmp_path)["stage"]
        state = torch.load(weights_file(tmp_path), weights_only=True)
        assert len(state["w"]) == {"front": 20_000, "context": 7}[stage]
        Output(tmp_path).save_stage("front", WEIGHTS, SETTINGS, {}, 3)


def test_weights_without_a_digest_load_with_a_warning(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    without_digest(models / "model.json")
    with caplog.at_level(logging.WARNING, "mammoseg"):
        assert weights_file(models.parent) == str(models / "model.pt")
    assert "model.pt has no digest in model.json" in caplog.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    Output(tmp_path).save_stage("front", {"a": torch.ones(3), "b": torch.tensor([1.0, value])}, SETTINGS, {}, 1)
    with pytest.raises(UserError, match=r"1 of 2 weights are NaN or infinite, such as b"):
        weights_file(tmp_path)


@pytest.mark.parametrize("content", [[1, 2], {"w": "text"}, 5, {"network": {"w": torch.ones(1)}}], ids=repr)
def test_other_content_than_weights_is_refused(models: Path, content: Any) -> None:
    save_checkpoint(content, models / "front.pt")
    without_digest(models / "front.json")
    with pytest.raises(UserError, match="holds more than named weights"):
        weights_file(models.parent, "front")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "broken JSON"),
        ("[" * 100_000, "broken JSON"),
        ("[]", "holds a list"),
        ("{}", "has no labels, stage"),
        (json.dumps({**SETTINGS, "stage": "front", "width": "wide"}), "width is wide, which is invalid"),
        (json.dumps({**SETTINGS, "stage": "front", "width": float("nan")}), "width is nan"),
        (json.dumps({**SETTINGS, "stage": "front", "image_height": True}), "image_height is True"),
        (json.dumps({**SETTINGS, "stage": "front", "labels": {"0": "a", "7": "b"}}), "labels is"),
        (json.dumps({**SETTINGS, "stage": "front", "labels": {}}), "labels is"),
    ],
    ids=["cut", "deep", "list", "empty", "text", "nan", "bool", "gap", "no labels"],
)
def test_odd_settings_are_one_line(models: Path, text: str, words: str) -> None:
    (models / "model.json").write_text(text)
    with pytest.raises(UserError, match=words) as raised:
        load_settings(models.parent)
    assert len(str(raised.value)) < 400
    assert "\n" not in str(raised.value)


def test_settings_that_an_editor_saved_with_a_byte_order_mark(models: Path) -> None:
    path = models / "model.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_settings(models.parent)["stage"] == "front"


def test_weights_of_another_network_are_one_line() -> None:
    with (
        pytest.raises(UserError, match=r"another network than this Linear \(\d differences.*size mismatch"),
        explained(),
    ):
        nn.Linear(2, 3).load_state_dict(nn.Linear(4, 3).state_dict())
    with pytest.raises(RuntimeError, match="something else"), explained():
        raise RuntimeError("something else")


class Stub:
    """An engine at a batch."""

    def __init__(self, batch: Any) -> None:
        self.state = type("State", (), {"batch": batch})()


@pytest.mark.parametrize("batch", [{"case": ["s1_L_CC"]}, [{"name": "s1_L_CC"}]], ids=["collated", "list"])
@pytest.mark.parametrize("labels", [True, False])
def test_scores_that_are_no_numbers_name_the_image(batch: Any, labels: bool) -> None:
    network = nn.Conv2d(1, 2, 1)
    nn.init.constant_(network.weight, float("nan"))
    inferer = WholeImageInferer(labels=labels)
    with pytest.raises(UserError, match=r"^s1_L_CC: the network gives scores that are NaN"), naming_case(Stub(batch)):
        inferer(torch.ones(1, 1, 8, 8), network)


def test_finite_scores_pass_as_they_are() -> None:
    logits = torch.tensor([[-3e38, 3e38]])
    assert finite(logits) is logits
    assert finite(torch.empty(0, 2)).shape == (0, 2)
    with pytest.raises(UserError, match="NaN or infinite"):
        finite(torch.tensor([0.0, float("-inf")]))
