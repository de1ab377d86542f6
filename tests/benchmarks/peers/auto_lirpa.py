"""Bounds of auto_LiRPA, for an interpreter in which it and onnx2torch are installed.

    python auto_lirpa.py METHOD MODEL.onnx EXAMPLES.npz SECONDS

EXAMPLES.npz holds `x`, `labels` and `radius`, an ℓ∞ ball clipped to [0, 1]. Prints a line of JSON:
processor seconds of the bounds alone, how many examples are certified, the least margin of each,
and the peak memory in MB.
"""

import json
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import torch
from auto_LiRPA import BoundedModule, BoundedTensor
from auto_LiRPA.perturbations import PerturbationLpNorm
from onnx2torch import convert

METHODS = {
    "ibp": "IBP",
    "crown-ibp": "CROWN-IBP",
    "crown": "CROWN",
    "alpha-crown": "CROWN-Optimized",
}
ITERATIONS = 20


def main(method: str, model: str, examples: str, _seconds: str) -> None:
    """Print the processor seconds, margins and peak memory of one method."""
    torch.set_num_threads(1)
    data = np.load(examples)
    x, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["labels"])
    low, high = ((x + sign * float(Fraction(str(data["radius"])))).clamp(0, 1) for sign in (-1, 1))
    options = {"optimize_bound_args": {"iteration": ITERATIONS}}
    network = BoundedModule(convert(onnx.load(model)).eval(), x[:1], bound_opts=options)
    classes = network(x[:1]).shape[1]
    unit = torch.eye(classes)
    others = torch.ones(len(x), classes, dtype=torch.bool).scatter(1, labels[:, None], False)
    rows = (unit[labels][:, None] - unit)[others].reshape(len(x), classes - 1, classes)
    ball = PerturbationLpNorm(norm=float("inf"), x_L=low, x_U=high)
    started = time.process_time()
    inputs = (BoundedTensor(x, ball),)
    lower, _ = network.compute_bounds(x=inputs, C=rows, method=METHODS[method], bound_upper=False)
    seconds = time.process_time() - started
    # Of this program alone: `getrusage` would count the process that started it, too.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    least = lower.detach().amin(1).tolist()
    certified = sum(margin > 0 for margin in least)
    answer = {"seconds": seconds, "certified": certified, "margins": least}
    print(json.dumps(answer | {"megabytes": round(peak)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
