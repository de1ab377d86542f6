"""A wheel works where there is no checkout: as a command and as a library."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from leaderboard.settings import setting
from tests.architecture.test_doors import CHECKOUT

pytestmark = pytest.mark.slow

MODEL = CHECKOUT / "submissions" / "digits-ibp" / "model.onnx"

ASKED = """
from fractions import Fraction
from pathlib import Path

import torch
from evaluators import Ball, Norm, Problem, bound, catalogue, import_module, import_onnx

network = import_onnx(Path("model.onnx"))
x, ball = torch.full((2, *network.input_shape), 0.5), Ball(Norm.LINF, Fraction(1, 1000))
labels = network.to(torch.float32)(x).argmax(1)
print(*(v.status.value for v in catalogue()["crown"]()(Problem(network, x, labels, ball))))
lower, upper = bound(network, x, ball).logits
assert bool((lower < upper).all())
module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
assert import_module(module, (1, 2, 2)).classes == 2
"""


class Installed:
    """A Python that finds the wheel's packages and the libraries, and no checkout."""

    def __init__(self, target: Path, folder: Path) -> None:
        self.target, self.folder = target, folder

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run Python, without the path files that an editable installation leaves."""
        libraries = dict.fromkeys(sysconfig.get_paths()[name] for name in ("purelib", "platlib"))
        environment = {
            **{name: value for name, value in os.environ.items() if "CERTBOARD" not in name},
            "PYTHONPATH": os.pathsep.join((str(self.target), *libraries)),
        }
        done = subprocess.run(
            [sys.executable, "-S", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def certboard(self, *arguments: str, code: int = 0) -> str:
        """Run one command."""
        return self("-m", "leaderboard", *arguments, code=code)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    pytest.importorskip("hatchling", reason="needs the build backend, hatchling")
    wheels, target, folder = (tmp_path_factory.mktemp(name) for name in ("wheels", "target", "cwd"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", str(CHECKOUT), "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", str(wheels)], check=True, timeout=600)
    (wheel,) = wheels.glob("*.whl")
    install = [*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, timeout=600)
    (folder / "model.onnx").write_bytes(MODEL.read_bytes())
    return Installed(target, folder)


def test_what_is_imported_is_the_wheel(installed: Installed) -> None:
    text = "import sys, evaluators, leaderboard; print(*sys.path, leaderboard.__file__, sep='\\n')"
    *path, file = installed("-c", text).split()
    assert file.startswith(str(installed.target))
    assert str(CHECKOUT) not in path


def test_certificates_are_made_and_rechecked(installed: Installed) -> None:
    asked = ("--dataset", "digits", "--norm", "linf", "--radius", "0.05", "--examples", "3")
    made = installed.certboard("certify", "model.onnx", *asked, "--evidence", "proofs.evidence")
    assert "3 of 3 certified" in made
    assert "3 of 3" in installed.certboard("recheck", "model.onnx", "proofs.evidence")


def test_a_property_is_verified(installed: Installed) -> None:
    lines = [f"(declare-const X_{i} Real)" for i in range(64)]
    lines += [f"(declare-const Y_{j} Real)" for j in range(10)]
    lines += [f"(assert (>= X_{i} 0.5)) (assert (<= X_{i} 0.51))" for i in range(64)]
    (installed.folder / "p.vnnlib").write_text("\n".join([*lines, "(assert (>= Y_0 1000.0))"]))
    assert installed.certboard("verify", "model.onnx", "p.vnnlib").split() == ["unsat"]


def test_the_library_answers(installed: Installed) -> None:
    assert installed("-c", ASKED).split() == ["certified", "certified"]


def test_lists_are_complete(installed: Installed) -> None:
    listed = installed.certboard("list", "settings")
    assert all(name in listed for name in setting.read_settings(setting.FOLDER))
    assert "neyman-pearson" in installed.certboard("list", "taxonomy")


COMMANDS = """
from leaderboard.__main__ import run

for asked in (["run", "digits-ibp"], ["check"], ["build"], ["demo"]):
    assert run(asked) == 1
"""


def test_what_needs_a_checkout_says_so(installed: Installed) -> None:
    said = installed("-c", COMMANDS).splitlines()
    assert len(said) == 4
    assert all("is not in a checkout of certboard" in line for line in said)
