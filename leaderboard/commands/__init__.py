"""The commands: one module a verb, named after it, with a function or a group called `command`.

A command parses what was typed, calls a room, and prints. Only the module of the verb that was
typed is imported; the help needs them all, so they import nothing heavy at their top.
"""

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer


def verbs() -> list[str]:
    """List the verbs alphabetically: the modules of this folder without an underscore."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if not name.startswith("_"))


def application(arguments: Sequence[str] = ()) -> typer.Typer:
    """Make the command line, of the verb that the arguments begin with, else of every verb."""
    made = typer.Typer(
        name="certboard",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    made.callback()(_certboard)
    known = verbs()
    for verb in arguments[:1] if arguments and arguments[0] in known else known:
        command = import_module(f"{__name__}.{verb}").command
        if isinstance(command, typer.Typer):
            made.add_typer(command, name=verb)
        else:
            made.command(name=verb)(command)
    return made


def _show_version(wanted: bool) -> None:
    if wanted:
        from leaderboard.common.version import version_text

        print(version_text())
        raise typer.Exit


def _certboard(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, help="Print version and commit"
        ),
    ] = False,
) -> None:
    """A leaderboard of certified robustness that trusts no reported number.

    \b
    Example:
      certboard certify net.onnx --dataset mnist --norm linf --radius 0.1
    """
