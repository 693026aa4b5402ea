"""Write the configs of all bundles from bundles/common/ and each bundle's network.json.

    python -m scripts.bundles              write outdated configs and the table of docs/options.md
    python -m scripts.bundles --check      write nothing; list outdated files; exit with 1 if any
    python -m scripts.bundles names        list the bundles, in the order of tables
    python -m scripts.bundles new NAME --network CLASS [ARGUMENT=VALUE …]
                                           create a bundle for a custom network (docs/own_network.md), as in
                                           new attention_unet --network monai.networks.nets.AttentionUnet
                                           channels=[16,32,64] strides=[2,2]

Without `--force`, a config that was edited by hand is not overwritten: the command shows the difference and ends.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from engines.base.network_file import all_rows
from engines.base.paths import is_installed, project_root
from scripts.bundlewriter.files import EditedByHandError, out_of_date, write_all
from scripts.commandline import Commands, run_app

app = typer.Typer(cls=Commands, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True, help=__doc__)
def write(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if something is out of date.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also overwrite configs that were edited by hand.")] = False,
) -> None:
    """Only the signature is used; the help is the module docstring."""
    if context.invoked_subcommand is not None:
        return
    root = project_root()
    if check:
        stale = [path.relative_to(root).as_posix() for path in out_of_date(root)]
        for name in stale:
            print(f"{name}: out of date; run make bundles", file=sys.stderr)
        if stale:
            raise typer.Exit(1)
        return
    try:
        written = write_all(root, force)
    except EditedByHandError as error:
        print(error.differences)
        raise
    for path in written:
        print(path.relative_to(root).as_posix())


@app.command("names")
def names() -> None:
    """List the bundles, in the order of tables."""
    print("\n".join(all_rows()))


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the bundle, such as attention_unet.")],
    network: Annotated[str, typer.Option(help="Class of the network, such as monai.networks.nets.AttentionUnet.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGUMENT=VALUE", help="Argument of the class, such as channels=[16,32,64]."),
    ] = None,
    title: Annotated[str | None, typer.Option(help="Name in tables. Default: the class.")] = None,
) -> None:
    """Create a bundle for a custom network, to train, evaluate, infer, compare and share like the others.

    Dimensions, input channels and number of classes are set automatically.
    """
    from scripts.bundlewriter.new import make_bundle  # slow: imports MONAI

    folder = make_bundle(project_root(), name, network, arguments or [], title)
    print(f"{folder.relative_to(project_root()).as_posix()}: review network.json and docs/README.md in it, then")
    config = (folder / "configs" / "train.json").relative_to(project_root()).as_posix()
    for run_id, short in (("check", "check"), ("training", "train")):
        monai = f"python -m monai.bundle run {run_id} --config_file {config}"
        print(f"  mammoseg {short} {name}" if is_installed() else f"  {monai}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 1 if --check finds outdated files, or 2 after a one-line error."""
    return run_app(app, "python -m scripts.bundles", argv)


if __name__ == "__main__":
    raise SystemExit(main())
