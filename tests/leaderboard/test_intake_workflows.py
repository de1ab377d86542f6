"""From a stranger's branch to rows on main: the workflows' own scripts, end to end."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from leaderboard.common.project import Project
from leaderboard.intake.sandbox import walls
from leaderboard.results.store import read, results_path
from tests.fixtures.project import (
    CHECKOUT,
    OWNER,
    PLAIN,
    keep_salt,
    linear,
    new_project,
    submit,
)
from tests.fixtures.repository import AUTHOR, Repository, repository
from tests.fixtures.warm import command, warm
from tests.fixtures.workflow import Runner, Step

SLUG = "newcomer"
SETTINGS = ("digits-l2-0.25", "digits-l2-0.5", "digits-l2-1.0")

pytestmark = pytest.mark.slow


@dataclass
class Place:
    """A repository as it is on a server, and a runner's checkout of it.

    Attributes:
        tools: programs that stand for a runner's own.
        artifacts: where workflows keep what they upload.
        warm: the socket of the process from which those of `certboard` are forked.
    """

    server: Repository
    checkout: Repository
    tools: Path
    artifacts: Path
    warm: Path

    def runner(
        self, head: str, author: str = OWNER, others: str = "refuse", shard: str = ""
    ) -> Runner:
        url = self.server.root.as_uri()
        base = self.checkout.head
        return Runner(
            self.checkout.root,
            {
                "github.event.pull_request.base.sha": base,
                "github.event.pull_request.head.sha": head,
                "github.event.pull_request.number": "7",
                "github.event.pull_request.user.login": author,
                "inputs.request": "7",
                "inputs.others": others,
                "inputs.workers": "1",
                "inputs.commit": head,
                "inputs.run": "1",
                "inputs.machines": "1",
                "inputs.shard": shard,
                "inputs.suffix": f"-{shard.partition('/')[0]}" if shard else "",
                "inputs.shares": "none" if shard else "{evaluated,finished}-*",
                "github.token": "secret",
            },
            {
                "PATH": f"{self.tools}:/usr/bin:/bin",
                "ASKED_BY": author,
                "PYTHONPATH": str(CHECKOUT),
                "GITHUB_SERVER_URL": "https://server.example",
                "GITHUB_REPOSITORY": "team/board",
                # The server is a folder here, with and without a token in its address.
                "GIT_CONFIG_COUNT": "2",
                "GIT_CONFIG_KEY_0": f"url.{url}.insteadOf",
                "GIT_CONFIG_VALUE_0": "https://server.example/team/board",
                "GIT_CONFIG_KEY_1": f"url.{url}.insteadOf",
                "GIT_CONFIG_VALUE_1": "https://x-access-token:secret@server.example/team/board",
            },
            self.artifacts,
            {} if not walls().missing else {"--sandbox required": "--sandbox best"},
        )


@pytest.fixture(scope="module")
def forked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a process that has imported all that a command needs."""
    with warm(tmp_path_factory.mktemp("warm")) as socket:
        yield socket


@pytest.fixture
def place(tmp_path: Path, forked: Path) -> Place:
    """The project's own site with two small submissions, on a server and checked out."""
    root = tmp_path / "server"
    root.mkdir()
    shutil.copy(CHECKOUT / "mkdocs.yml", root)
    new_project(root)
    source = CHECKOUT / "site"
    ours = shutil.ignore_patterns("data")
    shutil.copytree(source, root / "site", dirs_exist_ok=True, ignore=ours)
    (root / ".gitignore").write_text("/.venv/\n/build/\n/public/\n/evaluated/\n/shares/\n/whole/\n")
    server = repository(root)
    checkout = tmp_path / "checkout"
    server.git("clone", "--quiet", root.as_uri(), str(checkout))
    # Nobody has the server's branch checked out.
    server.git("checkout", "--quiet", "--detach")
    # What rows stand for is measured again for a second: with what comes of it, others are busy.
    briefly = '[ "$1 $2" = "intake accept" ] && set -- "$@" --again 1'
    _script(_program(checkout), f"{briefly}\n{command(forked, 'leaderboard.__main__')}")
    tools = tmp_path / "tools"
    log = tmp_path / "gh.log"
    _script(tools / "gh", f'echo "$@" >> {log}; if [ "$1" = api ]; then echo "$ASKED_BY"; fi')
    return Place(server, Repository(checkout), tools, tmp_path / "artifacts", forked)


def _program(checkout: Path) -> Path:
    return checkout / ".venv" / "bin" / "certboard"


def _script(path: Path, line: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def branch(place: Place) -> Path:
    """Begin a submitter's branch with a new submission; its folder."""
    place.server.branch("theirs", "main")
    submit(Project(place.server.root), SLUG, linear(), sigma="0.5")
    return place.server.root / "submissions" / SLUG


def request(place: Place) -> str:
    """Commit, and open a pull request; the commit."""
    head = place.server.commit()
    place.server.git("update-ref", "refs/pull/7/head", head)
    place.server.git("checkout", "--quiet", "--detach", "main")
    return head


def failed(steps: list[Step]) -> Step:
    assert all(step.code == 0 for step in steps[:-1])
    assert steps[-1].code != 0
    return steps[-1]


def test_an_honest_submission_comes_to_the_board(place: Place, tmp_path: Path) -> None:
    branch(place)
    runner = place.runner(request(place))

    checked = runner.job("check", "check")
    assert [step.code for step in checked] == [0] * 6, checked[-1].told
    assert checked[-1].name == "A first look"
    place.checkout.git("reset", "--hard", "--quiet")
    place.checkout.git("clean", "-fdq")

    draw(place, runner)
    drawn = place.server.git("diff", "--name-only", "main~1", "main").splitlines()
    assert [Path(name).parent for name in drawn] == [Path("site/data/salts")]
    salt = json.loads(place.server.git("show", f"main:{drawn[0]}"))["salt"]
    assert re.fullmatch("[0-9a-f]{64}", salt)

    evaluated = runner.job("compute", "compute")
    assert evaluated[-1].code == 0, evaluated[-1].told
    files = sorted(path.name for path in (place.artifacts / "evaluated").rglob("*.parquet"))
    assert files == [f"{SLUG}.parquet"] * 3
    assert not results_path(Project(place.checkout.root), SETTINGS[0], SLUG).exists()
    shutil.rmtree(place.checkout.root / "evaluated")
    place.checkout.git("clean", "-fdq")
    at_main(place)

    published = runner.job("publish", "publish")
    assert published[-1].code == 0, published[-1].told
    assert (tmp_path / "gh.log").read_text().count("attestation verify") == 4
    changed = place.server.git("diff", "--name-only", "main~1", "main").splitlines()
    assert changed == sorted(
        [
            *(f"site/data/results/{setting}/{SLUG}.parquet" for setting in SETTINGS),
            f"site/data/checks/{SLUG}.json",
            *(f"submissions/{SLUG}/{name}" for name in ("model.onnx", "submission.toml")),
        ]
    )
    stored = read(results_path(Project(place.checkout.root), SETTINGS[0], SLUG))
    assert len(stored.rows) == 449
    assert stored.provenance.noise_salt == salt
    assert (place.checkout.root / "public" / "submissions" / SLUG / "index.html").exists()


def draw(place: Place, runner: Runner) -> None:
    """Have a maintainer's approval draw the salt, while another runner is at the commit before."""
    before = place.checkout.head
    steps = runner.job("evaluate", "approve")
    assert steps[-1].code == 0, steps[-1].told
    assert not (place.checkout.root / "submissions" / SLUG).exists()
    place.checkout.git("reset", "--hard", "--quiet", before)


def at_main(place: Place) -> None:
    """A runner that has checked out the server's main branch as it is now."""
    place.checkout.git("fetch", "--quiet", "origin", "main")
    place.checkout.git("reset", "--hard", "--quiet", "origin/main")


def test_of_one_model_the_first_salt_is_kept(place: Place) -> None:
    """Approved again, or from another branch of the same file: nothing is drawn again."""
    branch(place)
    runner = place.runner(request(place))
    draw(place, runner)
    first = place.server.git("rev-parse", "main")
    # A runner that does not know of it yet cannot put its own in the place of the first.
    step = failed(runner.job("evaluate", "approve"))
    assert step.name == "Push"
    place.checkout.git("rebase", "--abort")
    assert place.server.git("rev-parse", "main") == first
    at_main(place)
    assert runner.job("evaluate", "approve")[-1].code == 0
    assert place.server.git("rev-parse", "main") == first


def test_what_has_no_salt_is_not_published(place: Place) -> None:
    """Its rows could be foreseen, and so chosen."""
    branch(place)
    runner = place.runner(request(place))
    (place.artifacts / "evaluated").mkdir(parents=True)
    before = place.server.git("rev-parse", "main")
    assert "its noise was not drawn" in failed(runner.job("publish", "publish")).told
    assert place.server.git("rev-parse", "main") == before


def hurry(place: Place) -> None:
    """Let every shard take an hour, by the clock of the evaluation; checks are others' to test."""
    sample_less(place, '[ "$1" = check ] && exit', "tests.fixtures.hurried")


def sample_less(place: Place, before: str = "", run: str = "leaderboard.__main__") -> None:
    """Let an evaluation spend few samples, which `publish` would not take."""
    hurried, usual = (command(place.warm, module) for module in (run, "leaderboard.__main__"))
    few = f'[ "$1" = run ] && set -- "$@" --samples 200 && {hurried}'
    _script(_program(place.checkout.root), f"{before}\n{few}\n{usual}")


def fresh(place: Place) -> None:
    """A runner that was never used."""
    for name in ("evaluated", "shares", "whole", "build"):
        shutil.rmtree(place.checkout.root / name, ignore_errors=True)
    place.checkout.git("clean", "-fdq")


def shards(place: Place) -> list[Path]:
    return sorted((place.artifacts / "finished").glob("*/*.parts/*/*.parquet"))


def test_an_evaluation_of_many_hours_goes_on_in_the_next_job(place: Place) -> None:
    branch(place)
    runner = place.runner(request(place))
    hurry(place)
    counts = []
    for part in range(1, 9):
        steps = runner.job("compute", "compute", part=str(part))
        assert steps[-1].code == 0, steps[-1].told
        fresh(place)
        if (place.artifacts / "evaluated").exists():
            break
        left = shards(place)
        counts.append(len(left))
        for path in left[-1:]:  # Damage on the way costs time, and nothing else.
            path.write_bytes(b"PAR1")
    assert len(counts) >= 2
    assert any(counts)
    files = [path for path in (place.artifacts / "evaluated").rglob("*") if path.is_file()]
    results = [path for path in files if path.suffix == ".parquet"]
    assert sorted(path.parent.name for path in results) == sorted(SETTINGS)
    assert {path.name for path in results} == {f"{SLUG}.parquet"}
    assert all(read(path).rows["example"].tolist() == [*range(449)] for path in results)
    done = runner.job("compute", "compute", part="40")
    assert [step.name for step in done] == ["Is there anything left?"]


def test_shares_of_several_machines_are_gathered_and_the_rest_is_computed(place: Place) -> None:
    """One share is whole, one was interrupted, one left forgeries beside it, and one nothing."""
    branch(place)
    head = request(place)
    sample_less(place)
    early = failed(place.runner(head, shard="1/4").job("compute", "compute"))
    assert "the salt of its noise was not drawn yet" in early.told
    fresh(place)
    draw(place, place.runner(head))
    whole = place.runner(head, shard="1/4").job("compute", "compute")
    assert whole[-1].code == 0, whole[-1].told
    fresh(place)
    hurry(place)
    for number in (2, 3):
        assert place.runner(head, shard=f"{number}/4").job("compute", "compute")[-1].code == 0
        fresh(place)
    assert sorted(one.name for one in place.artifacts.iterdir()) == [
        "evaluated-1", "finished-2", "finished-3",
    ]  # fmt: skip
    for setting in SETTINGS:
        folder = place.artifacts / "finished-3" / setting
        folder.mkdir(exist_ok=True)
        (folder / f"{SLUG}.parquet").write_bytes(b"PAR1")
        for part in (place.artifacts / "evaluated-1" / setting).rglob("*.parquet"):
            forged = (
                place.artifacts / "finished-3" / part.relative_to(place.artifacts / "evaluated-1")
            )
            forged.parent.mkdir(parents=True, exist_ok=True)
            forged.write_bytes(b"PAR1")
    sample_less(place)
    steps = place.runner(head).job("compute", "compute")
    assert steps[-1].code == 0, steps[-1].told
    assert [step.told for step in steps if step.name.startswith("Take what")] == [
        "finished shards of 3 jobs gathered\n"
    ]
    assert "damaged" not in steps[-1].told
    results = sorted((place.artifacts / "evaluated").rglob("*.parquet"))
    assert sorted(path.parent.name for path in results) == sorted(SETTINGS)
    assert all(read(path).rows["example"].tolist() == [*range(449)] for path in results)


def test_the_last_job_says_that_the_time_was_not_enough(place: Place) -> None:
    branch(place)
    runner = place.runner(request(place))
    hurry(place)
    step = failed(runner.job("compute", "compute", part="40"))
    assert step.told == "40 jobs were not enough. Re-run the failed job to give it one more.\n"
    assert shards(place)
    assert not (place.artifacts / "evaluated").exists()


def test_a_link_among_finished_shards_is_refused(place: Place, tmp_path: Path) -> None:
    branch(place)
    runner = place.runner(request(place))
    hurry(place)
    assert runner.job("compute", "compute")[-1].code == 0
    fresh(place)
    shards(place)[0].unlink()
    shards(place)[0].with_name("00000000-00000099.parquet").symlink_to("/etc/hostname")
    step = failed(runner.job("compute", "compute", part="2"))
    assert "cannot be read as a plain file" in step.told


def smuggle_code(folder: Path) -> None:
    (folder.parents[1] / "leaderboard").mkdir()
    (folder.parents[1] / "leaderboard" / "run.py").write_text("print('mine')")


def smuggle_rows(folder: Path) -> None:
    results = folder.parents[1] / "site" / "data" / "results" / SETTINGS[0]
    results.mkdir(parents=True)
    (results / f"{SLUG}.parquet").write_bytes(b"PAR1")


def smuggle_salt(folder: Path) -> None:
    project = Project(folder.parents[1])
    keep_salt(project, SLUG, "0" * 64)


def take_away_salt(folder: Path) -> None:
    shutil.rmtree(folder.parents[1] / "site" / "data" / "salts")


def smuggle_link(folder: Path) -> None:
    (folder / "README.md").symlink_to("/etc/passwd")


def smuggle_into_another(folder: Path) -> None:
    (folder.parent / PLAIN / "README.md").write_text("worse than newcomer")


@pytest.mark.parametrize(
    "smuggle",
    [smuggle_code, smuggle_rows, smuggle_link, smuggle_into_another, smuggle_salt, take_away_salt],
)
def test_a_smuggled_change_stops_every_workflow_before_anything_is_taken(
    place: Place, smuggle: Callable[[Path], None]
) -> None:
    smuggle(branch(place))
    runner = place.runner(request(place))
    place.artifacts.mkdir()
    (place.artifacts / "evaluated").mkdir()
    before = place.server.git("rev-parse", "main")
    jobs = (("evaluate", "approve"), ("check", "check"), ("compute", "compute"))
    for workflow, job in (*jobs, ("publish", "publish")):
        step = failed(runner.job(workflow, job))
        assert step.name in (
            *("Which submission is it?", "Draw the salt of its noise"),
            "Take the submission and accept its rows",
        )
        assert not (place.checkout.root / "submissions" / SLUG).exists()
        shutil.rmtree(place.checkout.root / "evaluated", ignore_errors=True)
    assert place.server.git("rev-parse", "main") == before


def test_a_forged_artifact_is_not_published(place: Place) -> None:
    branch(place)
    runner = place.runner(request(place))
    draw(place, runner)
    at_main(place)
    forged = place.artifacts / "evaluated" / SETTINGS[0]
    forged.mkdir(parents=True)
    (forged / f"{SLUG}.parquet").write_bytes(b"PAR1")
    before = place.server.git("rev-parse", "main")
    step = failed(runner.job("publish", "publish"))
    assert "is not a result file" in step.told
    assert place.server.git("rev-parse", "main") == before


def test_a_name_that_is_no_commit_is_refused(place: Place) -> None:
    branch(place)
    request(place)
    runner = place.runner("theirs")
    assert failed(runner.job("compute", "compute")).name == "Who asks?"


def test_a_stranger_withdraws_nothing_unless_a_maintainer_says_so(place: Place) -> None:
    branch(place)
    manifest = place.server.root / "submissions" / PLAIN / "submission.toml"
    shutil.rmtree(manifest.parents[1] / SLUG)
    manifest.write_text(f'withdrawn = "It was wrong."\n{manifest.read_text()}')
    head = request(place)
    (place.artifacts / "evaluated").mkdir(parents=True)
    for workflow, job in (("check", "check"), ("compute", "compute"), ("publish", "publish")):
        step = failed(place.runner(head, "mallory").job(workflow, job))
        assert "is not mallory's: its owners are octocat" in step.told
        shutil.rmtree(place.checkout.root / "evaluated", ignore_errors=True)
    allowed = place.runner(head, "mallory", "allow").job("publish", "publish")[-1]
    assert "allowed by a maintainer" in allowed.told
    assert "has no results" in allowed.told


def test_a_commit_of_another_request_is_refused(place: Place) -> None:
    branch(place)
    head = request(place)
    place.server.git("update-ref", "refs/pull/7/head", "main")
    step = failed(place.runner(head).job("compute", "compute"))
    assert "is not in pull request 7" in step.told


def test_git_is_told_who_commits() -> None:
    """The tests' own author must not hide that a workflow has none."""
    assert "user.name=A" in AUTHOR
