"""The workflows: what they may do, and that nothing of a stranger's can steer them."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from leaderboard.__main__ import run
from tests.fixtures.project import CHECKOUT
from tests.fixtures.workflow import FOLDER, load

NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))
MAY_WRITE = {
    ("evaluate", "approve"): {"contents": "write", "pull-requests": "read"},
    ("evaluate", "shares"): {"contents": "read", "pull-requests": "read"},
    ("evaluate", "evaluate"): {"contents": "read", "pull-requests": "read"},
    ("compute", "compute"): {"contents": "read", "pull-requests": "read"},
    ("publish", "publish"): {
        "contents": "write",
        "actions": "read",
        "attestations": "read",
        "pull-requests": "read",
    },
    ("publish", "site"): {"contents": "read", "pages": "write", "id-token": "write"},
    ("site", "deploy"): {"pages": "write", "id-token": "write"},
    ("evaluate", "attest"): {"id-token": "write", "attestations": "write"},
    ("release", "release"): {"contents": "write", "id-token": "write", "attestations": "write"},
}
"""All jobs that may do more than read the repository."""


def steps() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name in NAMES:
        for job, told in load(name)["jobs"].items():
            for step in told.get("steps", []):
                yield name, job, step
    action = yaml.safe_load((FOLDER.parent / "actions" / "setup" / "action.yml").read_text())
    for step in action["runs"]["steps"]:
        yield "setup", "action", step


def test_the_workflows_are_those_that_the_guide_describes() -> None:
    assert set(NAMES) == {
        "ci", "check", "evaluate", "compute", "publish", "site", "nightly", "release",
    }  # fmt: skip


def test_zizmor_finds_nothing() -> None:
    # The lock file brings it beside Python.
    program = str(Path(sys.executable).with_name("zizmor"))
    command = [program, "--offline", "--no-progress", "--min-severity", "low", str(FOLDER.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_has_no_permission_that_is_not_listed(name: str) -> None:
    told = load(name)
    assert told["permissions"] == {}
    for job, asked in told["jobs"].items():
        assert asked["permissions"] == MAY_WRITE.get((name, job), {"contents": "read"})


def test_every_action_of_others_is_pinned_to_a_commit() -> None:
    for _, _, step in steps():
        uses = step.get("uses", "$/")
        assert uses.startswith("$/") or re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", uses), uses


def test_no_text_of_an_event_stands_in_a_script() -> None:
    for name, job, step in steps():
        assert "${{" not in step.get("run", ""), (name, job)


def test_no_checkout_keeps_its_token_and_none_is_of_a_strangers_branch() -> None:
    for _, _, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
            base = ("main", "${{ github.event.pull_request.base.sha }}", None)
            assert step["with"].get("ref") in base


def test_nothing_is_cached() -> None:
    for _, _, step in steps():
        assert "cache" not in str(step).lower(), step


def test_only_harmless_events_start_a_workflow() -> None:
    for name in NAMES:
        # YAML reads the key `on` as true.
        events = load(name)[True]  # type: ignore[index]
        allowed = {"push", "pull_request", "workflow_dispatch", "workflow_call", "schedule"}
        assert set(events) <= allowed


def test_evaluating_and_publishing_wait_for_a_maintainer() -> None:
    jobs = load("evaluate")["jobs"]
    assert jobs["approve"]["environment"] == "evaluation"
    needs = {name: job.get("needs") for name, job in jobs.items()}
    assert needs == {
        "approve": None,
        "shares": "approve",
        "evaluate": ["approve", "shares"],
        "attest": "evaluate",
    }
    # A condition of one's own stands for that of all jobs before; each says whose success it needs.
    for name, before in (("evaluate", "approve"), ("attest", "evaluate")):
        assert jobs[name]["if"] == f"${{{{ !cancelled() && needs.{before}.result == 'success' }}}}"
    # YAML reads the key `on` as true.
    assert set(load("compute")[True]) == {"workflow_call"}  # type: ignore[index]
    assert load("publish")["jobs"]["publish"]["environment"] == "publication"
    assert "${{ inputs.commit }}" in load("evaluate")["run-name"]


def test_whose_a_submission_is_decides_the_account_that_opened_the_request() -> None:
    """Only a maintainer's own input can say otherwise."""
    scripts = {(name, job): step for name, job, step in steps() if "intake scope" in str(step)}
    assert set(scripts) == {
        ("check", "check"), ("compute", "compute"), ("publish", "publish"), ("evaluate", "approve"),
    }  # fmt: skip
    for (name, job), step in scripts.items():
        assert '--author "$AUTHOR"' in step["run"]
        told = load(name)
        author = {**told["jobs"][job]["env"], **step.get("env", {})}["AUTHOR"]
        if name == "check":
            assert author == "${{ github.event.pull_request.user.login }}"
            assert "--others" not in step["run"]
        else:
            assert author == "${{ steps.request.outputs.author }}"
            assert told["jobs"][job]["env"]["OTHERS"] == "${{ inputs.others }}"
            # YAML reads the key `on` as true.
            if name == "compute":
                told = load("evaluate")
                for job in ("shares", "evaluate"):
                    assert told["jobs"][job]["with"]["others"] == "${{ inputs.others }}"
            asked = told[True]  # type: ignore[index]
            assert set(asked) == {"workflow_dispatch"}
            assert asked["workflow_dispatch"]["inputs"]["others"]["default"] == "refuse"


def test_a_salt_is_drawn_after_the_approval_and_taken_from_main_alone() -> None:
    """Who writes on main runs no model, and who runs models cannot write."""
    drawing = [(name, job) for name, job, step in steps() if "intake salt" in str(step)]
    assert drawing == [("evaluate", "approve")]
    approve = load("evaluate")["jobs"]["approve"]
    assert approve["environment"] == "evaluation"
    assert not re.search("certboard (run|check|inspect|intake (accept|replay))", str(approve))
    (script,) = (step["run"] for name, _, step in steps() if name == "compute" and _salts(step))
    assert "refs/heads/main\n" in script
    assert "git checkout FETCH_HEAD -- site/data/salts\n" in script
    added = [line for _, _, step in steps() for line in step.get("run", "").split("\n")]
    assert [line.strip() for line in added if "git add" in line] == [
        "if [[ -d site/data/salts ]]; then git add -- site/data/salts; fi",
        'git add -- "submissions/$slug" site/data/results site/data/checks',
    ]


def _salts(step: dict[str, Any]) -> bool:
    return "site/data/salts" in step.get("run", "")


def test_a_published_artifact_was_signed_by_the_main_branchs_own_workflow() -> None:
    (script,) = (step["run"] for _, _, step in steps() if "attestation verify" in str(step))
    identity = (
        "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/.github/workflows/evaluate.yml@refs/heads/main"
    )
    assert f'--cert-identity "{identity}"' in script
    assert "--source-ref refs/heads/main" in script
    assert "--deny-self-hosted-runners" in script


def test_the_guide_says_how_long_an_evaluation_may_take() -> None:
    job = load("compute")["jobs"]["compute"]
    (step,) = (one for one in job["steps"] if one.get("id") == "evaluate")
    jobs, hours = len(job["strategy"]["matrix"]["part"]), int(step["env"]["HOURS"])
    # A shard that was begun in time may end in the hour after it.
    assert 60 * hours + 30 + 15 < job["timeout-minutes"] <= 360
    assert job["strategy"]["max-parallel"] == 1
    guide = (CHECKOUT / "site" / "pages" / "guides" / "maintain.md").read_text()
    assert f"{jobs} jobs of {hours} hours, {jobs * hours} hours in all" in guide


def test_shares_are_gathered_unread_and_by_the_last_machine_alone() -> None:
    """What they left is a stranger's: nothing but names of finished shards decides."""
    jobs = load("evaluate")["jobs"]
    shares, last = jobs["shares"], jobs["evaluate"]
    assert shares["uses"] == last["uses"]
    assert (shares["with"]["shares"], shares["with"]["suffix"]) == ("none", "-${{ matrix.share }}")
    assert (last["with"]["shares"], last["with"]["suffix"]) == ("{evaluated,finished}-*", "")
    assert (last["with"]["shard"], shares["strategy"]["fail-fast"]) == ("", False)
    for name, job, step in steps():
        told = step.get("with", {})
        if step.get("uses", "").startswith("actions/download-artifact@"):
            merged = told.get("merge-multiple", False)
            # A pattern of many would let the files of one machine replace another's.
            assert merged == (str(told.get("pattern", "")).endswith("${{ inputs.suffix }}")), (
                name,
                job,
            )


def test_the_evaluation_is_confined() -> None:
    told = [step["run"] for name, _, step in steps() if "run" in step and name != "ci"]
    for script in told:
        for line in re.findall(r"certboard run [^\n]*", script):
            assert "--sandbox required" in line
    assert sum("certboard run" in script for script in told) == 2


def test_every_command_of_a_script_exists(capsys: pytest.CaptureFixture[str]) -> None:
    found = set()
    for _, _, step in steps():
        found |= set(
            re.findall(r"certboard ((?:intake |data )?[a-z]+)([^|\n]*)", step.get("run", ""))
        )
    assert len(found) >= 8
    for command, rest in found:
        assert run([*command.split(), "--help"]) == 0
        told = capsys.readouterr().out
        for option in re.findall(r"--[a-z]+", rest):
            assert option in told, (command, option)


def test_ci_runs_the_script_of_the_project() -> None:
    assert any("bash .ci/run" in step.get("run", "") for name, _, step in steps() if name == "ci")
    script = (CHECKOUT / ".ci" / "run").read_text()
    assert re.search(r"^make( --jobs=2)? check build test-all$", script, re.MULTILINE)


def test_every_test_runs_every_night_and_what_make_test_leaves_out_is_marked_slow() -> None:
    assert any(step.get("run") == "make test-all" for name, _, step in steps() if name == "nightly")
    makefile = (CHECKOUT / "Makefile").read_text()
    recipes = dict(re.findall(r"^(test[a-z-]*):.*\n\t(.*)", makefile, re.MULTILINE))
    assert recipes == {"test": '$(PYTEST) -m "not slow"', "test-all": "$(PYTEST)"}
