import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from leaderboard.common.errors import InputError
from leaderboard.common.project import Project
from leaderboard.evaluation.smoothing import noises, rules
from leaderboard.settings.question import combined_sha256
from leaderboard.settings.setting import load_settings
from leaderboard.submissions import folder as submission_files
from leaderboard.submissions import weights
from leaderboard.submissions.catalogue import read_catalogue
from leaderboard.submissions.manifest import (
    load_submission,
    model_path,
    settings_for,
)
from leaderboard.submissions.noises import NOISES, RULES
from leaderboard.submissions.placeholders import EXAMPLES
from leaderboard.submissions.scaffold import scaffold
from tests.fixtures.project import problems_of_submission

NETWORK = b"the bytes of a network"
SHA256 = hashlib.sha256(NETWORK).hexdigest()
HEAD = 'title = "A"\nauthors = ["B", "C"]\nlicence = "Apache-2.0"\n'
MODEL = f'[model]\nfile = "model.onnx"\nsha256 = "{SHA256}"\ndataset = "mnist"\n'
TRAINING = '[training]\nnode = "training/relaxation-based"\nextra_data = "none"\n'
CLAIM = '[[claim]]\nsetting = "mnist-linf-0.3"\nclean = 98\ncertified = 93.1\n'
GOOD = HEAD + MODEL + TRAINING + CLAIM


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "submissions").mkdir()
    return Project(tmp_path)


def submit(project: Project, text: str = GOOD, slug: str = "my-net") -> Path:
    folder = project.submissions / slug
    folder.mkdir(exist_ok=True)
    (folder / "submission.toml").write_text(text, encoding="utf-8")
    (folder / "model.onnx").write_bytes(NETWORK)
    return folder


def problem_of(project: Project, slug: str = "my-net") -> str:
    (problem,) = problems_of_submission(project, slug)
    return problem


def test_a_submission_is_read(project: Project) -> None:
    paper = '[paper]\ntitle = "T"\narxiv = "1810.12715"\ndate = "2018-10"\n'
    folder = submit(project, GOOD + paper)
    submission = load_submission(project, "my-net")
    assert submission.slug == "my-net"
    assert submission.authors == ("B", "C")
    assert submission.smoothing is None
    assert submission.training.extra_data == "none"
    (claim,) = submission.claims
    assert (claim.setting, claim.clean, claim.certified) == ("mnist-linf-0.3", 98, 93.1)
    assert submission.paper is not None
    assert submission.paper.link == "https://arxiv.org/abs/1810.12715"
    assert model_path(project, submission) == folder / "model.onnx"
    assert problems_of_submission(project, "my-net") == []


def test_a_plain_model_competes_in_every_setting_of_its_dataset(project: Project) -> None:
    submit(project)
    chosen = settings_for(load_submission(project, "my-net"), load_settings())
    assert {setting.dataset for setting in chosen} == {"mnist"}
    assert {"mnist-linf-0.1", "mnist-linf-0.3", "mnist-l2-1.58"} <= {one.id for one in chosen}


@pytest.mark.parametrize(
    ("distribution", "norm"),
    [("gaussian", "l2"), ("laplace", "l1"), ("uniform", "l1")],
)
def test_a_smoothed_model_competes_where_its_noise_certifies(
    project: Project, distribution: str, norm: str
) -> None:
    noise = f'[smoothing]\ndistribution = "{distribution}"\nsigma = "1/3"\n'
    submit(project, HEAD + MODEL.replace("mnist", "cifar10") + TRAINING + noise)
    submission = load_submission(project, "my-net")
    chosen = settings_for(submission, load_settings())
    assert {setting.dataset for setting in chosen} == {"cifar10"}
    assert {setting.norm for setting in chosen} <= set(noises()[distribution])
    assert all(setting.smoothing for setting in chosen)
    assert f"cifar10-{norm}-1.0" in {setting.id for setting in chosen}
    assert submission.smoothing is not None
    assert (submission.smoothing.sigma, submission.smoothing.scale) == ("1/3", Fraction(1, 3))


def test_gaussian_smoothing_competes_in_linf_where_the_setting_has_a_protocol(
    project: Project,
) -> None:
    noise = '[smoothing]\ndistribution = "gaussian"\nsigma = "0.5"\n'
    submit(project, HEAD + MODEL.replace("mnist", "imagenet") + TRAINING + noise)
    chosen = settings_for(load_submission(project, "my-net"), load_settings())
    assert "imagenet-linf-1_255" in {setting.id for setting in chosen}


NOISE = '[smoothing]\ndistribution = "gaussian"\nsigma = "0.5"\n'
SECOND = b"the bytes of another network"
MEMBER = f'[[member]]\nfile = "second.onnx"\nsha256 = "{hashlib.sha256(SECOND).hexdigest()}"\n'
DENOISER = MEMBER.replace("[[member]]", "[denoiser]")
RULE = '[ensemble]\nrule = "mean-softmax"\n'


def test_an_ensemble_and_a_denoiser_are_read_in_order(project: Project) -> None:
    folder = submit(project, HEAD + MODEL + TRAINING + NOISE + MEMBER + RULE + DENOISER)
    (folder / "second.onnx").write_bytes(SECOND)
    submission = load_submission(project, "my-net")
    parts = submission.parts(project).files
    assert [(part.role, part.path.name) for part in parts] == [
        ("denoiser", "second.onnx"), ("member", "model.onnx"), ("member", "second.onnx"),
    ]  # fmt: skip
    lines = "".join(f"{part.role} {part.sha256}\n" for part in parts) + "rule mean-softmax\n"
    combined = combined_sha256(parts, "mean-softmax")
    assert combined == hashlib.sha256(lines.encode()).hexdigest()
    others = {combined_sha256(parts, "mean-logits"), combined_sha256(parts[1:], "mean-softmax")}
    assert len(others | {combined, combined_sha256(parts[::-1], "mean-softmax")}) == 4


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        (MEMBER + RULE, "has a [[member]] or a [denoiser], which need a [smoothing]"),
        (DENOISER, "has a [[member]] or a [denoiser], which need a [smoothing]"),
        (NOISE + MEMBER, "must have an [ensemble] with a rule and a [[member]], or neither"),
        (NOISE + RULE, "must have an [ensemble] with a rule and a [[member]], or neither"),
        (NOISE + MEMBER + RULE.replace("softmax", "softmix"), "Did you mean 'mean-softmax'?"),
        (NOISE + MEMBER + MEMBER + RULE, "has the same network twice"),
        (NOISE + MEMBER.replace("second", "third") + RULE, "'member #1.file' names"),
        (NOISE + DENOISER.replace('256 = "', '256 = "0').replace('"\n', '"\n'), "64 small hex"),
        (NOISE + MEMBER.replace("second.onnx", "x.py") + RULE, "an .onnx file in the same folder"),
        (NOISE + MEMBER + "size = 3\n" + RULE, "but 'member #1.size' says 3"),
    ],
)
def test_wrong_parts_are_told_in_one_sentence(project: Project, tables: str, told: str) -> None:
    folder = submit(project, HEAD + MODEL + TRAINING + tables)
    (folder / "second.onnx").write_bytes(SECOND)
    assert told in problem_of(project)


@pytest.mark.parametrize(
    "licence", ["MIT", "none stated", "CC-BY-NC-4.0", "MIT OR Apache-2.0", "LicenseRef-Ours"]
)
def test_a_licence_that_spdx_knows_or_that_nobody_stated_is_allowed(
    project: Project, licence: str
) -> None:
    submit(project, GOOD.replace("Apache-2.0", licence))
    assert load_submission(project, "my-net").licence == licence


@pytest.mark.parametrize(
    ("licence", "meant"),
    [("Apache 2", "Apache-2.0"), ("mit", "MIT"), ("cc-by-nc-4.0", "CC-BY-NC-4.0"), ("Ours", "")],
)
def test_another_licence_is_told_with_what_is_allowed_and_what_was_meant(
    project: Project, licence: str, meant: str
) -> None:
    submit(project, GOOD.replace("Apache-2.0", licence))
    said = problem_of(project)
    assert f"'licence' is '{licence}', but must be an SPDX expression such as Apache-2.0" in said
    assert ("Did you mean" in said) == bool(meant)
    assert meant in said


def test_a_part_with_another_hash_is_told(project: Project) -> None:
    folder = submit(project, HEAD + MODEL + TRAINING + NOISE + DENOISER)
    (folder / "second.onnx").write_bytes(NETWORK)
    assert "but 'denoiser.sha256' says" in problem_of(project)


def test_every_problem_is_told_at_once_with_file_key_found_and_allowed(project: Project) -> None:
    text = (
        GOOD.replace("title", "titel")
        .replace("relaxation-based", "relaxation")
        .replace("mnist-linf-0.3", "mnist-linf-03")
        .replace("98", "101")
        .replace(SHA256, "0" * 64)
    )
    submit(project, text + '[smoothing]\ndistribution = "gausian"\nsigma = "0,25"\n')
    where = "submissions/my-net/submission.toml: "
    assert set(problems_of_submission(project, "my-net")) == {
        f"{where}the key 'title' is missing (rule toml-key).",
        f"{where}there is no key 'titel'. Did you mean 'title'? Allowed here: title, authors,"
        " owners, licence, code, paper, model, training, smoothing, member, ensemble, denoiser,"
        " published, adapter,"
        " claim, withdrawn, superseded_by (rule toml-key).",
        f"{where}'training.node' is 'training/relaxation', but must be one of"
        " training/regularization-based, training/relaxation-based, training/augmentation-based,"
        " training/adversarial, training/standard. Did you mean 'training/relaxation-based'?"
        " (rule toml-value)",
        f"{where}'claim #1.setting' is 'mnist-linf-03', but there is no such setting."
        " Did you mean 'mnist-linf-0.3'? (rule toml-value)",
        f"{where}'claim #1.clean' is 101, but must be at most 100.0 (rule toml-range).",
        f"{where}'smoothing.distribution' is 'gausian', but must be one of {', '.join(noises())}."
        " Did you mean 'gaussian'? (rule toml-value)",
        f"{where}'smoothing.sigma' is '0,25', but must be a positive decimal or fraction such as"
        ' "0.3" or "8/255": write 0.25 or 1/4, with a decimal point'
        " (rule toml-value).",
        f"submissions/my-net/model.onnx has the SHA-256 {SHA256}, but 'model.sha256' says"
        f" {'0' * 64} (rule file-hash).",
    }


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"A"', '"A\\u202Eb"', "invisible character U+202E"),
        ('"A"', '"A\\u200B"', "invisible character U+200B"),
        ('"A"', '"A\\nb"', "invisible character U+000A"),
        ('"A"', '"e\\u0301"', "composed form (NFC)"),
        ('"A"', '" "', "must not be empty"),
        ('"A"', f'"{"x" * 301}"', "at most 300 characters"),
        ('["B", "C"]', '"B"', "must be a list in square brackets"),
        ('["B", "C"]', "[]", "at least 1 entries"),
        ("98", "93.0", "a certified accuracy of 93.1 above the clean one of 93.0"),
        ("98", "true", "'claim #1.clean' is true, but must be a number"),
        ("93.1", "nan", "must be finite"),
        ("mnist-linf-0.3", "cifar10-l2-1.0", "the settings of this model are mnist-linf-0.1"),
        ("mnist-linf-0.3", "../x", "there is no such setting"),
        (CLAIM, CLAIM + CLAIM, "more than one [[claim]] for the setting 'mnist-linf-0.3'"),
        ('"mnist"', '"minst"', "Did you mean 'mnist'?"),
        ("model.onnx", "../other/model.onnx", "an .onnx file in the same folder"),
        ("model.onnx", "model.py", "an .onnx file in the same folder"),
        ("model.onnx", "absent.onnx", "no file submissions/my-net/absent.onnx"),
        ('file = "model.onnx"\n', "", "must have one of the keys file and url"),
        ('file = "model.onnx"', 'url = "https://a.org/m.onnx"', "must have a size"),
        ('file = "model.onnx"', 'url = "file:///etc/passwd"\nsize = 1', "begins with https://"),
        ("dataset =", "size = 3\ndataset =", "but 'model.size' says 3"),
        ("dataset =", "size = 200000001\ndataset =", "must be at most 200000000"),
        (SHA256, SHA256.upper(), "64 small hexadecimal digits"),
        (HEAD, HEAD + 'code = "javascript:alert(1)"\n', "begins with https://"),
        (HEAD, HEAD + 'code = "https://a.org/\\"onclick="\n', "begins with https://"),
        (HEAD, HEAD + 'slug = "other"\n', "there is no key 'slug'"),
        (HEAD, HEAD + 'title = "B"\n', "is not valid TOML"),
        (HEAD, HEAD + "x =\n", "(at line 4, column 4)"),
        (TRAINING, TRAINING.replace('"none"', "true"), "must be text in quotes"),
        (
            TRAINING,
            TRAINING.replace('extra_data = "none"\n', ""),
            "'training.extra_data' is missing",
        ),
        *(
            (TRAINING, TRAINING.replace('"none"', f'"{said}"'), "must be 'none' if no data")
            for said in ("None", "no", "none.", "-", "N/A")
        ),
        (TRAINING, TRAINING + '[paper]\ntitle = "x"\ndate = "2024-02-30"\n', "2024-05-07"),
        (TRAINING, TRAINING + '[paper]\nurl = "https://a.org"\n', "'paper.title' is missing"),
        (TRAINING, "", "the key 'training' is missing"),
        (TRAINING, 'training = "x"\n', "must be a table"),
    ],
)
def test_a_wrong_submission_is_told_in_one_sentence(
    project: Project, old: str, new: str, told: str
) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new)
    # A plain value must come before the tables.
    submit(project, new + HEAD + MODEL + CLAIM if new.startswith("training") else text)
    problem = problem_of(project)
    assert told in problem
    assert problem.startswith(("submissions/my-net", "There is no file submissions/my-net"))


@pytest.mark.parametrize("slug", ["../x", "..", "", "A", "a--b", "-a", "a_b", "a/b", "é", "x" * 65])
def test_a_name_that_is_no_slug_is_refused(project: Project, slug: str) -> None:
    assert "must be called by small letters" in problem_of(project, slug)
    with pytest.raises(InputError, match="must be called by small letters"):
        scaffold(project, slug)


def test_an_unknown_submission_is_answered_with_the_nearest(project: Project) -> None:
    submit(project)
    assert "Did you mean 'my-net'?" in problem_of(project, "mynet")


def test_a_folder_without_submission_toml_is_told(project: Project) -> None:
    (project.submissions / "empty").mkdir()
    assert problem_of(project, "empty") == (
        "There is no file submissions/empty/submission.toml (rule toml-syntax)."
    )


def test_links_programs_folders_and_long_texts_are_refused_before_anything_is_read(
    project: Project,
) -> None:
    folder = submit(project)
    (folder / "train.py").write_text("", encoding="utf-8")
    (folder / "README.md").symlink_to("/etc/hostname")
    (folder / "LICENSE").write_text("x" * 100_001, encoding="utf-8")
    (folder / "sub").mkdir()
    (folder / "submission.toml").unlink()
    os.mkfifo(folder / "submission.toml")
    told = problems_of_submission(project, "my-net")
    assert len(told) == 5
    assert "'LICENSE' with more than 100,000 bytes" in told[0]
    assert "'README.md', which is not a regular file" in told[1]
    assert "'sub', which is not a regular file" in told[2]
    assert "'submission.toml', which is not a regular file" in told[3]
    assert "'train.py', but only" in told[4]


def test_a_link_in_place_of_the_model_or_the_folder_is_refused(project: Project) -> None:
    folder = submit(project)
    (folder / "model.onnx").rename(project.root / "model.onnx")
    (folder / "model.onnx").symlink_to(project.root / "model.onnx")
    assert "'model.onnx', which is not a regular file" in problem_of(project)
    (project.submissions / "other").symlink_to(folder)
    assert problem_of(project, "other") == (
        "submissions/other is a link, but must be a folder (rule folder-files)."
    )


def test_a_model_over_the_limit_is_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(project)
    monkeypatch.setattr(submission_files, "LARGEST_MODEL", 10)
    assert "has 22 bytes, but a model may have 10 (rule file-size)." in problem_of(project)


def test_all_submissions_are_sorted_and_all_their_problems_told(project: Project) -> None:
    for slug in ("b", "a", "c"):
        submit(project, slug=slug)
    (project.submissions / "README.md").write_text("not a submission", encoding="utf-8")
    assert list(read_catalogue(project).submissions) == ["a", "b", "c"]
    submit(project, GOOD.replace('"A"', "1"), "a")
    submit(project, GOOD.replace('"A"', "2"), "c")
    found = read_catalogue(project)
    assert [problem.split("/")[1] for problem in found.problems] == ["a", "c"]
    assert list(found.submissions) == ["b"]


def test_a_model_with_an_address_is_fetched_with_its_hash_and_size(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = 'url = "https://a.org/m.onnx"\nsize = 22'
    (submit(project, GOOD.replace('file = "model.onnx"', url)) / "model.onnx").unlink()
    asked: list[tuple[str, str, int]] = []

    def fetch(url: str, sha256: str, size: int) -> Path:
        asked.append((url, sha256, size))
        return Path("there.onnx")

    monkeypatch.setattr(weights, "fetch", fetch)
    assert model_path(project, load_submission(project, "my-net")) == Path("there.onnx")
    assert asked == [("https://a.org/m.onnx", SHA256, 22)]


def filled_in(text: str) -> str:
    """A scaffold's manifest with something of one's own in the place of each example."""
    own = {"arxiv": "1810.12715", "code": "https://a.org/code", "url": "https://a.org/paper"}
    own |= {"licence": "MIT", "node": "training/standard"}
    for name, example in EXAMPLES.items():
        text = text.replace(example, own.get(name, f"ours-{name.replace(' ', '-')}"))
    return text.replace('sha256 = ""', f'sha256 = "{SHA256}"')


def test_a_new_submission_lacks_the_model_and_its_own_texts(project: Project) -> None:
    folder = scaffold(project, "my-net").folder
    (folder / "model.onnx").write_bytes(NETWORK)
    manifest, readme = folder / "submission.toml", folder / "README.md"
    manifest.write_text(filled_in(manifest.read_text("utf-8")), encoding="utf-8")
    (problem,) = problems_of_submission(project, "my-net")
    assert "README.md has still the example 'What is special" in problem
    readme.write_text(filled_in(readme.read_text("utf-8")), encoding="utf-8")
    assert problems_of_submission(project, "my-net") == []
    with pytest.raises(InputError, match="already a submissions/my-net"):
        scaffold(project, "my-net")


USED = ["first author", "second author", "owner", "licence", "node", "description"]


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("form", [str, str.upper, lambda text: f" {text.replace(' ', '  ')}."])
def test_an_example_of_the_scaffold_is_refused_wherever_it_is_left(
    project: Project, name: str, form: Callable[[str], str]
) -> None:
    folder = scaffold(project, "my-net").folder
    (folder / "model.onnx").write_bytes(NETWORK)
    written = "".join(path.read_text("utf-8") for path in folder.glob("[Rs]*"))
    assert EXAMPLES[name] in written, "the list has only what the scaffold writes"
    text = filled_in((folder / "submission.toml").read_text("utf-8"))
    (folder / "README.md").write_text("Ours.", encoding="utf-8")
    manifest = f"title = {json.dumps(form(EXAMPLES[name]))}\n" + text.split("\n", 3)[3]
    (folder / "submission.toml").write_text(manifest, encoding="utf-8")
    assert "(rule text-placeholder)" in "".join(problems_of_submission(project, "my-net"))


def test_every_text_that_the_scaffold_writes_is_an_example_or_a_known_word(
    project: Project,
) -> None:
    """A text that is added to the template without being refused would fail here."""
    folder = scaffold(project, "my-net").folder
    text = (folder / "submission.toml").read_text("utf-8")
    assert tomllib.loads(text)["owners"] == [EXAMPLES["owner"]]
    said = {json.loads(found) for found in re.findall(r'"[^"\n]*"', text)}
    known = {"", "my net", "mnist", "none", "gaussian", "0.25"}
    known |= {"model.onnx", "second.onnx", "denoiser.onnx", "mean-logits", "mnist-linf-0.3"}
    known |= {"2019-06", "https://..."}  # a date's form, and an address that is no address
    assert said - known <= set(EXAMPLES.values())
    problems = problems_of_submission(project, "my-net")
    # And the README's; all are told at once.
    assert sum("(rule text-placeholder)" in problem for problem in problems) == len(USED) + 1


def test_the_explained_optional_keys_are_right_when_uncommented(project: Project) -> None:
    folder = scaffold(project, "my-net").folder
    (folder / "model.onnx").write_bytes(NETWORK)
    manifest = folder / "submission.toml"
    (folder / "README.md").unlink()
    lines = filled_in(manifest.read_text("utf-8")).splitlines()
    keys = ("# [", "# title", "# arxiv", "# venue", "# date", "# setting", "# clean", "# certified")
    optional = [line[2:] if line.startswith(keys) else line for line in lines]
    others = "[smoothing]", "[[member]]", "[ensemble]", "[denoiser]", "[published]", "[adapter]"
    for table in others:
        optional.remove(table)
    manifest.write_text("\n".join(optional), encoding="utf-8")
    assert problems_of_submission(project, "my-net") == []
    assert len(load_submission(project, "my-net").claims) == 1


def test_what_a_manifest_may_ask_of_noise_is_what_the_evaluators_have() -> None:
    assert noises() == NOISES
    assert rules() == RULES
