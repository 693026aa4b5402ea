"""Request handling of `mlflow models serve`: image file in, label map or overlay out, as PNG.

The logged model has two interfaces. `mlflow.pytorch.load_model` returns the network alone, a graph that executes
nothing on loading. MLflow's server, and `mlflow.pyfunc.load_model`, run this project's code in the model's folder
`code`, which reads the image as in training and resizes the classes to the image's own grid.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from engines.inference.inferers import MirrorAveraging
from engines.inference.whole_image import WholeImageInferer
from engines.scoring.operating_point import decision_of
from nets.safe_load import check_sums, not_finite
from transforms.argmax import ArgmaxLiked
from transforms.channels import ThreeChannelsd
from transforms.errors import UserError
from transforms.normalize import NormalizeRanged
from transforms.outputs.png import OVERLAY_ENDING, PNG_ENDING, write_overlay, write_png
from transforms.outputs.prediction import Prediction
from transforms.reading.load_mammogram import LoadMammogramd
from transforms.unmirror import Unmirrord

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("mammoseg")

SETTINGS, CODE = "mammoseg.json", "code"
READ = ("image_height", "windowing", "flip", "colour")
"""Settings of the training by which an image is read."""

IMAGE, RESULT, FORMAT = "image", "segmentation", "format"
FORMATS: dict[str, tuple[Callable[[Prediction], None], str]] = {
    "labels": (write_png, PNG_ENDING),
    "overlay": (write_overlay, OVERLAY_ENDING),
}
"""Formats of a request: pixel values that are class numbers, or a picture for viewing."""

REQUIREMENTS = (
    "fire", "highdicom", "itk-io", "jsonschema", "matplotlib", "mlflow", "monai", "nibabel", "numpy", "pandas",
    "pillow", "pydicom", "pyjpegls", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "python-gdcm",
    "pytorch-ignite", "scikit-image", "scipy", "torch", "tqdm",
)  # fmt: skip
"""Packages that the code in the model's folder imports."""


class Predictor:
    """Segments image files given as bytes.

    Args:
        network: images (N, 3, h, w) in [-0.5, 0.5] → logits.
        settings: settings of the training, see `engines.runs.run_parameters.settings`.
        device: device of the network.
    """

    def __init__(self, network: nn.Module, settings: Mapping[str, Any], device: str = "cpu") -> None:
        self.network = network.to(device)
        self.device = device
        self.classes = tuple(settings["labels"].values())
        self.inferer = MirrorAveraging(WholeImageInferer(), bool(settings["mirror_averaging"]))
        self.read = (
            LoadMammogramd("image", **{name: settings[name] for name in READ}),
            NormalizeRanged("image"),
            ThreeChannelsd("image"),
        )
        argmax = ArgmaxLiked("label", size_key="original_size", decision=decision_of(settings))
        self.finish = (argmax, Unmirrord(["label", "image"]))

    def predict(self, data: pd.DataFrame, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """MLflow's interface: a column `image` of files as bytes → a column `segmentation` of PNG files as bytes.

        Args:
            data: DICOM, PNG, JPEG or TIFF files, detected by their content.
            params: "format", "labels" (default) or "overlay".

        Raises:
            MlflowException: (HTTP 400) unknown format, or an unreadable image, identified by its number.
        """
        import pandas as pd
        from mlflow.exceptions import MlflowException

        chosen = str((params or {}).get(FORMAT, "labels"))
        if chosen not in FORMATS:
            raise MlflowException.invalid_parameter_value(f"format {chosen}: unknown; choose from {', '.join(FORMATS)}")
        answers = []
        for number, content in enumerate(data[IMAGE], start=1):
            if not isinstance(content, bytes | bytearray | memoryview):
                raise MlflowException.invalid_parameter_value(f"image {number}: expected the bytes of an image file")
            try:
                answers.append(self.segment(bytes(content), chosen))
            except UserError as error:
                raise MlflowException.invalid_parameter_value(f"image {number}: {error}") from None
        return pd.DataFrame({RESULT: answers})

    def segment(self, content: bytes, chosen: str = "labels") -> bytes:
        """Convert one image file to one PNG file in the format `chosen`.

        Raises:
            UserError: the image cannot be read.
        """
        write, ending = FORMATS[chosen]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / IMAGE
            path.write_bytes(content)
            try:
                item = self._segment(path)
            except UserError as error:  # names a temporary file that the sender does not know
                raise UserError(str(error).replace(f"{path}: ", "")) from None
            label = item["label"][0].cpu().numpy()
            write(Prediction(label, self.classes, Path(folder), IMAGE, image=item["image"].cpu()))
            return (Path(folder) / (IMAGE + ending)).read_bytes()

    def _segment(self, path: Path) -> dict[str, Any]:
        item: dict[Any, Any] = {"image": path}
        for transform in self.read:
            item = transform(item)
        with torch.no_grad():
            item["label"] = self.inferer(item["image"][None].to(self.device), self.network)[0]
        for transform in self.finish:
            item = transform(item)
        return item


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> Predictor:
    """Load the model in a folder; called by MLflow."""
    import mlflow.pytorch

    settings = json.loads((Path(path) / SETTINGS).read_text(encoding="utf-8"))
    for file in Path(path).rglob("*.pt2"):
        try:
            check_sums(file)
        except ValueError as error:
            raise UserError(f"{file}: {error}; log the model again") from error
    device = (model_config or {}).get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
    network = mlflow.pytorch.load_model(path, device=device)
    if unusable := not_finite(network.state_dict()):
        raise UserError(f"{path}: {len(unusable)} weights are NaN or infinite, such as {unusable[0]}; log it again")
    network.strides = tuple(settings["strides"])  # tells `PaddedInferer` the permitted sizes
    return Predictor(network, settings, device)


def add_predictor(path: Path, settings: Mapping[str, Any]) -> None:
    """Add the second interface to the MLflow model in a folder written by `mlflow.pytorch.save_model`.

    Args:
        path: the model's folder.
        settings: settings of the training, with the network's "strides".
    """
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    root = Path(__file__).resolve().parents[2]
    for package in ("engines", "nets", "transforms"):
        shutil.copytree(root / package, path / CODE / package, ignore=_not_code)
    (path / SETTINGS).write_text(json.dumps(dict(settings), indent=2, ensure_ascii=False), encoding="utf-8")
    model = Model.load(str(path / "MLmodel"))
    face = model.flavors["python_function"]
    face.update(loader_module=__name__, code=CODE)
    for key in ("data", "pickle_module_name"):
        face.pop(key, None)
    model.signature = ModelSignature(
        Schema([ColSpec(DataType.binary, IMAGE)]),
        Schema([ColSpec(DataType.binary, RESULT)]),
        ParamSchema([ParamSpec(FORMAT, DataType.string, "labels")]),
    )
    model.saved_input_example_info = None  # the example of the bare network
    for example in path.glob("*input_example*"):
        example.unlink()
    model.save(str(path / "MLmodel"))


def _not_code(folder: str, names: list[str]) -> list[str]:
    return [n for n in names if (Path(folder) / n).is_file() and not n.endswith((".py", ".json"))] + ["__pycache__"]
