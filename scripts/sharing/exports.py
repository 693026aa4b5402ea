"""Export of a trained model to other formats, each compared with the checkpoint on two image sizes.

    python -m scripts.sharing.exports FOLDER pt ts pt2 onnx

writes FOLDER/models/model.ts, .pt2 and .onnx from FOLDER/models/model.pt and FOLDER/configs/, checks the network
against FOLDER/configs/metadata.json, and prints the largest difference of each format as JSON on the last line.

`scripts.share` runs this in a separate process, because names inside a TorchScript file depend on what the process
scripted before, and the order of constraints in a .pt2 file depends on Python's hash seed.
"""

from __future__ import annotations

import json
import sys
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ckpt_export, verify_net_in_out
from torch import Tensor, nn

from engines.inference.inferers import size_multiple
from engines.records.checkpoint import explained, load_checkpoint
from scripts.sharing.program import as_exported
from transforms.atomic_write import atomic_file
from transforms.errors import UserError, user_error

EXAMPLE = (2, 64, 96)
SIZES = ((1, 97, 130), (2, 160, 120))
"""(images, rows, columns) of the export and the comparisons, rounded up to sizes that the network accepts."""

TOLERANCE = 1e-4
"""Largest allowed difference of a logit: absolute for logits below 1, else relative to the largest logit."""


def export(folder: Path, formats: tuple[str, ...]) -> dict[str, float]:
    """Write the formats; return the largest absolute difference of each from the checkpoint.

    Raises:
        UserError: a format differs by more than the tolerance, or a package for it is missing.
    """
    network = build(folder)
    _verify(folder)
    differences = {}
    for name in formats:
        path = folder / "models" / f"model.{name}"
        WRITERS[name](folder, network, path)
        difference, allowed = compare(READERS[name](folder, path), network)
        if difference > allowed:
            raise UserError(f"{path.name}: differs from the checkpoint by {difference:.1e}, more than {allowed:.1e}")
        differences[path.name] = difference
    return differences


def build(folder: Path) -> nn.Module:
    """Build the network of configs/inference.json with the weights of models/model.pt, on the CPU.

    Raises:
        UserError: network and weights do not match.
    """
    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    parser["output_dir"] = str(folder)
    parser["device"] = "cpu"
    try:
        network: nn.Module = parser.get_parsed_content("network")
    except Exception as error:  # any error in code of the bundle, wrapped by MONAI
        raise UserError(
            f"the bundle {folder.name} cannot build the network of these weights ({cause_of(error)}); give the bundle "
            "of their training"
        ) from error
    with explained():
        network.load_state_dict(load_checkpoint(folder / "models" / "model.pt"))
    return network.eval()


def cause_of(error: BaseException) -> str:
    """Return the cause of an error as one line: a wrapped `UserError`, or else the first exception."""
    found = user_error(error)
    if found is not None:
        return str(found)
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def images(network: nn.Module, number: int, rows: int, columns: int) -> Tensor:
    """Return reproducible random input in the range of real input, with sides rounded up to accepted sizes."""
    multiple = size_multiple(network)
    sides = (-(-side // multiple) * multiple for side in (rows, columns))
    generator = torch.Generator().manual_seed(0)
    return torch.rand(number, 3, *sides, generator=generator) - 0.5


def compare(exported: Callable[[Tensor], Tensor], network: nn.Module) -> tuple[float, float]:
    """Return the largest absolute difference of a logit over `SIZES`, and the largest allowed one."""
    difference, greatest = 0.0, 1.0
    with torch.no_grad():
        for size in SIZES:
            image = images(network, *size)
            expected, got = network(image), exported(image)
            if got.shape != expected.shape:
                raise UserError(f"exported: turns {tuple(image.shape)} into {tuple(got.shape)}, not {expected.shape}")
            for name, logits in (("the checkpoint", expected), ("exported", got)):
                if not logits.isfinite().all():
                    raise UserError(f"{name}: gives logits that are not finite")
            difference = max(difference, float((got - expected).abs().max()))
            greatest = max(greatest, float(expected.abs().max()))
    return float(f"{difference:.1e}"), TOLERANCE * greatest


def write_torchscript(folder: Path, network: nn.Module, path: Path) -> None:
    """Trace with MONAI's own command: the format required by the model zoo, deprecated in PyTorch."""
    ckpt_export(
        net_id="network",
        filepath=str(path),
        ckpt_file=str(folder / "models" / "model.pt"),
        meta_file=str(folder / "configs" / "metadata.json"),
        config_file=str(folder / "configs" / "inference.json"),
        use_trace=True,
        input_shape=list(images(network, *EXAMPLE).shape),
        output_dir=str(folder),
        device="cpu",
    )
    rewrite(path, leave_out=(".debug_pkl", "serialization_id"))  # paths of source files


def write_exported_program(folder: Path, network: nn.Module, path: Path) -> None:
    """Export with torch.export, for any number of images and any size that the network accepts."""
    torch.export.save(as_exported(network, images(network, *EXAMPLE)), path)
    rewrite(path, leave_out=("serialization_id",))


def write_onnx(folder: Path, network: nn.Module, path: Path) -> None:
    """Export with torch.onnx from the exported program, for the same sizes."""
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"--formats onnx: needs {error.name}; pip install onnx onnxruntime onnxscript") from error
    program = as_exported(network, images(network, *EXAMPLE))
    exported = torch.onnx.export(program, (), dynamo=True, verbose=False)
    assert exported is not None
    model = exported.model
    values = [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]
    parts: list[Any] = [model, model.graph, *values, *(v for node in model.graph for v in (node, *node.outputs))]
    for part in parts:
        part.metadata_props.clear()  # traces of the source
    large = sum(p.numel() for p in network.parameters()) * 4 > 2**31 - 2**20  # one file may hold 2 GB
    exported.save(path, external_data=large)


def rewrite(path: Path, leave_out: tuple[str, ...]) -> None:
    """Rewrite a zip without some entries and without times, so that equal content has equal bytes."""
    with atomic_file(path) as part, zipfile.ZipFile(path) as old, zipfile.ZipFile(part, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(leave_out):
                new.writestr(zipfile.ZipInfo(entry.filename), old.read(entry))


def _verify(folder: Path) -> None:
    """Run MONAI's check of the network against metadata.json, with its own smallest input."""
    verify_net_in_out(
        net_id="network",
        meta_file=str(folder / "configs" / "metadata.json"),
        config_file=str(folder / "configs" / "inference.json"),
        device="cpu",
        output_dir=str(folder),
    )


def _read_onnx(folder: Path, path: Path) -> Callable[[Tensor], Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: torch.from_numpy(session.run(None, {name: image.numpy()})[0])


WRITERS: dict[str, Callable[[Path, nn.Module, Path], None]] = {
    "pt": lambda folder, network, path: None,
    "ts": write_torchscript,
    "pt2": write_exported_program,
    "onnx": write_onnx,
}
READERS: dict[str, Callable[[Path, Path], Any]] = {
    "pt": lambda folder, path: build(folder),
    "ts": lambda folder, path: torch.jit.load(path),
    "pt2": lambda folder, path: torch.export.load(path).module(),
    "onnx": _read_onnx,
}


def main(argv: list[str]) -> int:
    """Run the command; return 0, or 2 after an error."""
    torch.set_num_threads(1)  # sums in one order
    try:
        print(json.dumps(export(Path(argv[0]), tuple(argv[1:]))))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        traceback.print_exc()
        print(f"error: {cause_of(error)}", file=sys.stderr)  # `scripts.share` reports the last line
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
