"""Package a trained bundle as a zip that works without this repository.

    python -m scripts.share unet .
    python -m scripts.share dilation10 share/ --version 1.0.0 --changelog "weights trained on our data"

Writes mammoseg_<bundle>_v<version>.zip with configs, weights, exported models, code, documents with the scores of this
training, the data license, and the SHA-256 of every file. The same training gives the same bytes. Prints a summary,
or JSON with `--json`. The exit code is 0, or 2 after a one-line error. See docs/sharing.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engines.base.signals import ended_by_signals
from scripts.commandline import run_app
from transforms.errors import UserError

if TYPE_CHECKING:
    from scripts.sharing.pack import Shared

FORMATS = ("pt", "ts", "pt2", "onnx")

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(help="Package a trained bundle as a zip that works without this repository.")
def command(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name of a bundle, or path of its folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Zip file, or folder for it.")],
    output_dir: Annotated[
        Path | None,
        typer.Option("--output_dir", help="Folder that holds the training's models/. Default: the bundle's own."),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Version, such as 1.0.0. Default: that of the bundle's metadata.")
    ] = None,
    changelog: Annotated[str | None, typer.Option(help="Changes in this version.")] = None,
    data_licence: Annotated[
        str | None, typer.Option("--data_licence", help="License of the data; required if its dataset.json has none.")
    ] = None,
    authors: Annotated[str | None, typer.Option(help="Authors of the model. Default: those of the code.")] = None,
    formats: Annotated[str, typer.Option(help=f"Formats of the model, from {','.join(FORMATS)}.")] = "pt,ts,pt2",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing zip.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Share one bundle."""
    from rich.console import Console

    from scripts.sharing.pack import ShareOptions, share  # seconds: torch, MONAI and MLflow

    options = ShareOptions(version, changelog, authors, data_licence, parse_formats(formats))
    with Console(stderr=True).status("copying, exporting and comparing the model …"), ended_by_signals(_terminated):
        shared = share(bundle, out, output_dir, options, overwrite)
    print(json.dumps({**asdict(shared), "path": str(shared.path)}, indent=1) if as_json else summary(shared))


def parse_formats(text: str) -> tuple[str, ...]:
    """ "ts, onnx" → ("pt", "ts", "onnx"): the checkpoint is always included.

    Raises:
        UserError: a format is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in FORMATS]
    if unknown:
        raise UserError(f"--formats {', '.join(unknown)}: unknown; choose from {', '.join(FORMATS)}")
    return tuple(name for name in FORMATS if name == "pt" or name in names)


def summary(shared: Shared) -> str:
    """Return the summary for the user, one fact per line."""
    lines = [
        f"{shared.path}: {shared.files} files, {shared.size / 1e6:.1f} MB, version {shared.version}",
        f"sha256 {shared.sha256}",
        *(f"models/{name} differs from the checkpoint by {value:.1e}" for name, value in shared.exports.items()),
        *([f"larger than 25 MB, see large_files.yml: {', '.join(shared.large_files)}"] if shared.large_files else []),
        "Read docs/README.md and docs/data_license.txt in it before sharing it.",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.share", argv)


def _terminated(signum: int, frame: Any) -> None:
    raise SystemExit(128 + signum)  # so that the temporary folder is removed and the exporting process ended


if __name__ == "__main__":
    raise SystemExit(main())
