"""The command `mammoseg`: everything this project does, as short commands.

\b
    mammoseg sample data/sample
    mammoseg train dilation10 --max_epochs 20
    mammoseg compare

`train`, `evaluate`, `infer` and `check` print the MONAI command that they run. Any option of a bundle can be given
(`train --help`). By default the sample data set, models, results and the MLflow store are in the working directory.
"""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import typer
import typer.core

import mammoseg  # noqa: F401 - makes the following importable
from engines.base.command_values import quoted
from engines.base.network_file import read_network
from engines.base.paths import bundle_folder, bundle_folders, bundle_root, code_root, is_installed, project_root
from scripts.commandline import Commands, command_of, run_app
from transforms.command_names import command_names
from transforms.errors import UserError

OTHERS = {
    "sample": ("sample", "Make the synthetic sample data set."),
    "prepare": ("prepare", "Import images and annotations as a dataset folder; check one."),
    "compare": ("compare", "Compare trained networks: tables, charts, one HTML page."),
    "crossval": ("crossval", "Cross-validate a bundle by subject."),
    "ensemble": ("ensemble", "Score an ensemble of cross-validated networks."),
    "share": ("share", "Put a trained bundle into a zip that works without this package."),
    "new": ("bundles", "Make a bundle for your own network."),
    "doctor": ("doctor", "Report problems of this machine or installation."),
}
"""Command → the module of `scripts` that implements it, and its summary."""

OPTIONS = {"allow_extra_args": True, "ignore_unknown_options": True}


class Mammoseg(Commands):
    """The commands of this file and those of `scripts`, each imported when it is needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *OTHERS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in OTHERS:
            return super().get_command(ctx, cmd_name)
        found: Any = command_of(importlib.import_module(f"scripts.{OTHERS[cmd_name][0]}").app, command_names)
        return found.get_command(ctx, "new") if cmd_name == "new" else found

    def summary(self, ctx: Any, name: str) -> str:
        return OTHERS[name][1] if name in OTHERS else super().summary(ctx, name)


class OfBundles(typer.core.TyperCommand):
    """A command that takes the options of bundles, and lists them."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        super().format_options(ctx, formatter)
        with formatter.section("Options of bundles (docs/options.md)"):
            formatter.write_dl([(f"--{name}", sentence) for name, sentence in bundle_options(str(ctx.info_name))])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Complete the command's own options and arguments, and the options of bundles."""
        known = bundle_options(str(ctx.info_name)) if incomplete.startswith("-") else []
        more = [(f"--{name}", sentence) for name, sentence in known if f"--{name}".startswith(incomplete)]
        items = [SimpleNamespace(value=name, type="plain", help=sentence) for name, sentence in more]
        return [*super().shell_complete(ctx, incomplete), *items]


def bundle_options(command: str) -> list[tuple[str, str]]:
    """Return the options of a command with their descriptions; those that one bundle alone has are last."""
    config = {"infer": "inference", "check": "train"}.get(command, command)
    path = code_root() / "bundles" / "common" / "options.json"
    if not path.is_file():  # a shared bundle
        return []
    options = json.loads(path.read_text(encoding="utf-8"))
    recipes = config == "train"
    for folder in sorted(bundle.parent for root in bundle_folders() for bundle in root.glob("*/network.json")):
        for name, option in _own_options(folder).items():
            options.setdefault(name, {**option, "_desc_": f"{option['_desc_']} Only {folder.name}."})
    return [(k, command_names(v["_desc_"])) for k, v in options.items() if config in v or (recipes and "recipe" in v)]


def _own_options(folder: Path) -> dict[str, Any]:
    """Return a bundle's own options; none if its network.json is broken, which a help text need not report."""
    try:
        options = read_network(folder).get("options", {})
        return {name: option for name, option in options.items() if isinstance(option["_desc_"], str)}
    except (UserError, AttributeError, LookupError, TypeError):
        return {}


app = typer.Typer(cls=Mammoseg, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def bundle_names() -> list[str]:
    """Return the names of all bundles, for shell completion."""
    return sorted({path.parent.name for folder in bundle_folders() for path in folder.glob("*/network.json")})


Bundle = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="Name of a bundle, such as dilation10.", autocompletion=bundle_names)
]


@app.callback(help=__doc__, epilog=f"Documentation: {code_root() / 'docs'}")
def command() -> None:
    """Only the signature is used: the module's docstring is the help."""


@app.command(cls=OfBundles, context_settings=OPTIONS)
def train(context: typer.Context, bundle: Bundle) -> None:
    """Train a bundle's network, stage by stage; any of its options may follow, as --max_epochs 20."""
    run(bundle, "train", "training", context.args)


@app.command(cls=OfBundles, context_settings=OPTIONS)
def evaluate(context: typer.Context, bundle: Bundle) -> None:
    """Score a trained bundle on a dataset folder (--dataset_dir), by default on its validation section."""
    run(bundle, "evaluate", "evaluating", context.args)


@app.command(cls=OfBundles, context_settings=OPTIONS)
def infer(
    context: typer.Context,
    bundle: Bundle,
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of DICOM files or pictures, or one file.")],
) -> None:
    """Segment images with a trained bundle; results go to --results_dir."""
    run(bundle, "inference", "run", ["--dataset_dir", quoted(str(images)), *context.args])


@app.command(cls=OfBundles, context_settings=OPTIONS)
def check(
    context: typer.Context,
    what: Annotated[
        str,
        typer.Argument(metavar="BUNDLE|DATASET", help="A bundle, or a dataset folder.", autocompletion=bundle_names),
    ],
) -> None:
    """Check data and options of a training before it begins, or a dataset folder."""
    if (Path(what) / "dataset.json").is_file() or (Path(what).is_dir() and what not in bundle_names()):
        from scripts.prepare import main as prepare

        raise typer.Exit(prepare(["check", what, *context.args]))
    run(what, "train", "check", context.args)


def run(bundle: str, config: str, run_id: str, options: Sequence[str]) -> None:
    """Print a MONAI command, and replace this process by it.

    Raises:
        UserError: unknown bundle.
    """
    words = monai_command(bundle, config, run_id, options)
    quote = subprocess.list2cmdline if os.name == "nt" else shlex.join
    print(quote([_python(), *words]), flush=True)
    if os.name == "nt":
        raise typer.Exit(subprocess.call([sys.executable, *words]))
    os.execv(sys.executable, [sys.executable, *words])


def monai_command(bundle: str, config: str, run_id: str, options: Sequence[str]) -> list[str]:
    """Return the arguments of Python that run a bundle; if installed, with the folders of its data and results.

    Raises:
        UserError: unknown bundle.
    """
    if bundle.startswith("-"):
        raise UserError(f"{bundle}: expected the name of a bundle before the options, as in mammoseg train dilation10")
    path = bundle_folder(bundle) / "configs" / f"{config}.json"
    if not path.is_file():
        raise UserError(f"{bundle}: unknown bundle; choose from {', '.join(bundle_names())}")
    given = {word.partition("=")[0] for word in options}
    defaults = _places(bundle, config) if is_installed() else {}
    added = [word for name, value in defaults.items() if name not in given for word in (name, value)]
    return ["-m", "monai.bundle", "run", run_id, "--config_file", str(path), *added, *options]


def _places(bundle: str, config: str) -> dict[str, str]:
    places = {"--dataset_dir": str(project_root() / "data" / "sample"), "--output_dir": bundle_root(bundle)}
    if config != "inference" and not os.environ.get("MLFLOW_TRACKING_URI"):
        places["--tracking_uri"] = str(project_root() / "mlflow.db")
    return places


def _python() -> str:
    """Return `python` if that command is this interpreter, maybe under another name; else its path."""
    found, own = shutil.which("python"), Path(sys.executable)
    same = found is not None and Path(found).parent == own.parent and os.path.samefile(found, own)
    return "python" if same else sys.executable


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code, or 2 after a one-line error."""
    return run_app(app, "mammoseg", argv)
