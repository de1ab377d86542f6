"""What people type: names in other spellings, other numbers, questions about the program itself."""

import json
import shlex
from collections.abc import Iterator
from fractions import Fraction

import pytest
from typer import _click
from typer.main import get_command

from evaluators.listing import catalogue
from evaluators.listing import recipes as all_recipes
from leaderboard.__main__ import run
from leaderboard.commands import _names, application
from leaderboard.common.errors import spelled, unknown_name
from leaderboard.common.project import Project
from leaderboard.settings.setting import load_settings
from tests.fixtures.project import LINF, MODEL, certify
from tests.leaderboard.conftest import Certboard


@pytest.mark.parametrize(
    ("typed", "names", "meant"),
    [
        ("CIFAR-10", _names.datasets, "cifar10"),
        ("Tiny ImageNet", _names.datasets, "tinyimagenet"),
        *((word, _names.norms, "linf") for word in ("Linf", "L_inf", "inf", "ℓ∞", "L-infinity")),
        *((word, _names.norms, "l2") for word in ("L2", "ℓ2", "ℓ₂", "2")),
        ("CROWN", _names.evaluators, "crown"),
        ("α-CROWN", _names.evaluators, "alpha-crown"),
        ("Branch and Bound", _names.evaluators, "branch-and-bound"),
        ("IBP", _names.recipes, "ibp"),
        ("CIFAR10-Linf-2/255", _names.settings, "cifar10-linf-2_255"),
        ("mean_softmax", _names.rules, "mean-softmax"),
        ("22/55", lambda: ["2/255", "l"], None),
        ("crow", _names.evaluators, None),
        ("", _names.norms, None),
    ],
)
def test_another_spelling_is_understood(typed: str, names: _names.Names, meant: str | None) -> None:
    assert spelled(typed, names()) == meant


LISTS = [
    _names.datasets,
    _names.norms,
    _names.settings,
    _names.nodes,
    _names.slugs,
    _names.noises,
    _names.rules,
    _names.procedures,
    _names.evaluators,
    _names.recipes,
]


@pytest.mark.parametrize("names", LISTS, ids=lambda names: names.__name__)
def test_no_two_names_of_a_list_are_spellings_of_each_other(names: _names.Names) -> None:
    listed = list(names())
    assert listed
    for name in listed:
        for typed in (name, name.upper(), name.replace("-", "_")):
            assert spelled(typed, listed) == name


def test_of_two_names_spelled_alike_each_is_only_itself() -> None:
    names = ["my-net", "mynet"]
    assert [spelled(word, names) for word in ("my-net", "mynet", "MyNet")] == [*names, None]


def test_the_nearest_name_is_another_spelling_if_there_is_one() -> None:
    (sentence,) = unknown_name("norm", "INF", ["linf", "l2"]).problems
    assert "Did you mean 'linf'?" in sentence


def test_names_are_known_without_importing_what_they_name() -> None:
    assert sorted(_names.evaluators()) == sorted([*catalogue(), "cascade"])
    assert list(_names.recipes()) == [*all_recipes()]


def test_a_question_in_other_spellings_is_the_same_question(
    project: Project, certboard: Certboard
) -> None:
    spelling = {"dataset": "Digits", "norm": "Inf", "radius": "1 / 255 ", "evaluator": "IBP"}
    answers = []
    for changed in (spelling, {"norm": "linf", "radius": "1/255", "evaluator": "ibp"}):
        outcome = certboard(*certify(examples="2", **changed), "--json")
        assert outcome.code == 0, outcome.err
        found = json.loads(outcome.out)
        answers.append({key: found[key] for key in ("dataset", "norm", "radius", "evaluator")})
    assert answers[0] == answers[1] == {**answers[0], "norm": "linf", "radius": "1/255"}


def test_eps_is_a_radius_and_ranges_are_indices(project: Project, certboard: Certboard) -> None:
    typed = ["certify", MODEL, "--dataset", "digits", "--norm", "linf", "--eps", "1e-2"]
    outcome = certboard(*typed, "--indices", "7, 3-5", "--evaluator", "ibp", "--json")
    found = json.loads(outcome.out)
    assert Fraction(found["radius"]) == Fraction(1, 100)
    assert [row["example"] for row in found["rows"]] == [7, 3, 4, 5]


@pytest.mark.parametrize(
    ("indices", "told"),
    [
        ("5-3", "--indices: '5-3' ends before it begins."),
        ("440-449", "--indices: '440-449' is not an example; they are 0 to 448."),
        ("1-2-3", "--indices: '1-2-3' is not an example"),
        ("1-3,2", "--indices names 2 2 times"),
        ("0-999999999", "--indices: '0-999999999' is not an example"),
    ],
)
def test_ranges_that_are_none_are_told(
    project: Project, certboard: Certboard, indices: str, told: str
) -> None:
    outcome = certboard(*certify(examples=None, indices=indices))
    assert outcome.code == 1
    assert outcome.sentence.startswith(told)


def test_the_version_and_the_commit_are_told(certboard: Certboard) -> None:
    outcome = certboard("--version")
    assert outcome.code == 0
    words = outcome.out.split()
    assert words[0] == "certboard"
    assert words[2] == "commit"
    assert len(words) == 4


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("certboard ver", ["verify"]),
        ("certboard certify net.onnx --norm li", ["linf"]),
        ("certboard certify net.onnx --evaluator branch", ["branch-and-bound"]),
        (
            f"certboard run --setting {LINF[:-1]}",
            sorted(s for s in load_settings() if s.startswith(LINF[:-1])),
        ),
    ],
)
def test_the_shell_completes_verbs_and_names(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    offered: list[str],
) -> None:
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    monkeypatch.setenv("_CERTBOARD_COMPLETE", "complete_bash")
    with pytest.raises(SystemExit) as ended:
        run([])
    assert ended.value.code == 0
    assert sorted(capsys.readouterr().out.split()) == offered


def commands() -> Iterator[tuple[str, _click.Command]]:
    """Every command with what is typed for it."""

    def below(typed: str, command: _click.Command) -> Iterator[tuple[str, _click.Command]]:
        yield typed, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from below(f"{typed} {name}", inner)

    yield from below("certboard", get_command(application()))


COMMANDS = dict(commands())


@pytest.mark.parametrize("typed", COMMANDS)
def test_every_help_shows_an_example_that_can_be_typed(typed: str) -> None:
    told = (COMMANDS[typed].help or "").replace("\\\n", " ")
    examples = [line.strip() for line in told.splitlines() if line.strip().startswith(typed)]
    assert examples
    for example in examples:
        words = shlex.split(example)
        name = next(n for n in sorted(COMMANDS, key=len, reverse=True) if example.startswith(n))
        command = COMMANDS[name]
        # Parsed, and not run: an option that there is not, or a missing one, is an error.
        command.make_context(name, words[len(name.split()) :])
