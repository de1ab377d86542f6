"""The commands, grouped by what they do; importing a module adds its commands to `app`."""

import typer

app = typer.Typer(
    name="certboard",
    help="A leaderboard of certified robustness that trusts no reported number.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
