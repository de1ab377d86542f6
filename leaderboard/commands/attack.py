"""`certboard attack`: what a certificate does not promise, tried on models of the board."""

import json
from pathlib import Path
from typing import Annotated

import typer

from leaderboard.commands import _names, _options
from leaderboard.common.memory import uncollected, within
from leaderboard.common.project import find_project

command = typer.Typer(
    help="Attack models outside the certified ball.\n\n\b\nExample:\n"
    "  certboard attack shadow digits-ibp --setting digits-linf-0.1",
    no_args_is_help=True,
)


@command.callback()
def _attacks() -> None:
    """Attacks that leave the ball."""


@command.command("shadow")
def shadow(
    slug: _options.Slug,
    setting: Annotated[
        str,
        _names.name_option(_names.settings, help="The setting whose ball and evaluator certify"),
    ],
    examples: _options.FirstExamples = None,
    indices: _options.Indices = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the attack")] = 200,
    seconds: Annotated[
        float | None, typer.Option(help="Time budget of the evaluator per example")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples of a smoothed model; default: the setting's"),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Write a PNG of the first that succeed")
    ] = None,
    device: _options.Device = "cpu",
    memory: _options.Memory = None,
    as_json: _options.Json = False,
) -> None:
    """Change images smoothly until a model certifies a wrong class (Shadow Attack).

    It breaks no certificate: the changed images lie outside the ball, and what is certified of them
    is true. It shows that a certificate does not say that an answer is right.

    \b
    Examples:
      certboard attack shadow digits-ibp --setting digits-linf-0.1 --examples 10
      certboard attack shadow cifar10-ibp --setting cifar10-linf-8_255 \\
          --indices 0-99 --picture shadow.png
    """
    with uncollected():
        from evaluators.attacks.shadow import Shadow
        from leaderboard.evaluation import shadow as attacks
        from leaderboard.evaluation.certify_options import ExampleSelection
        from leaderboard.evaluation.plan import Request

    request = Request(seconds=seconds, samples=samples, device=device)
    selection = ExampleSelection(examples=examples, indices=indices)
    with within(memory):
        found = attacks.attack(
            find_project(), slug, setting, selection, request, Shadow(steps=steps)
        )
    if picture is not None:
        attacks.draw(picture, found)
    summary = attacks.summary(slug, setting, found)
    if as_json:
        print(json.dumps(summary, allow_nan=False))
        return
    _show(summary, len(found))


def _show(summary: dict[str, object], count: int) -> None:
    from leaderboard.common.progress import show_table

    rows = summary["rows"]
    assert isinstance(rows, list)
    idle = {name for name in ("radius before", "radius after") if not any(r[name] for r in rows)}
    show_table(rows, idle)
    counts = summary["counts"]
    assert isinstance(counts, dict)
    print()
    print(
        f"{counts['certified']} of {count} were certified; after the change a wrong class is"
        f" certified of {counts['spoofed']}"
    )
