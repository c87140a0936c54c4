"""Every test and every timing on a GPU: fused training against its peers, simulations against the CPU's spikes.

    python benchmarks/gpu.py [--only tests training step products networks ...] [--json FILE]
    python benchmarks/gpu.py --cpu-spikes    # on any machine: writes what the networks are held to

Training: one LIF layer, forward and backward, against SpikingJelly (its own choice of kernels), norse and snnTorch
(driven over ``x.unbind(0)``) where they are installed: medians of CUDA events around a call, in turns, each of which
finds the host's caches cold; around 50 calls in a row; and of replays of a captured graph, which leave out what the
host does. Beside them the bytes that any scheme must move (read x, write spikes; read x and the arriving gradient,
write the gradient), and those of this one (the final state, and the states that are kept every 16 steps of a longer
run), at the copy bandwidth of the same run.
A layer that only goes through autograd and launches nothing says how much of a short run is torch's own.
Training step: Linear and LIF over 500 steps, batch 16, sum of squares, beside the peers; with float32 products, as
torch does them unless told otherwise, with `SpikeLinear`, and with products in TF32.
Products: the paths of `SpikeLinear` at several rates.
Simulation: the spikes of networks equal those that the CPU's provider gave (`results/cpu_spikes.json`), to the bit.
The microcircuit of Potjans and Diesmann at full scale is also run on both here; then its real-time factor is measured
(wall time over 10 s of model time after 1 s, launches, copies and recording of all spikes included). Growth: the same
with 1.4 and 2 times the neurons, each with as many times more synapses.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import Any

from common import write_json
from gpu_networks import KEPT, ROOT, growth, held, microcircuit, networks
from gpu_timing import device
from gpu_training import SIZES, WIDTHS, products, training, training_step


def main() -> None:
    """Test, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", default=["tests", "training", "step", "products", "networks", "microcircuit", "growth"]
    )
    parser.add_argument("--json")
    parser.add_argument("--cpu-spikes", action="store_true", help="run the held networks on the CPU and keep hashes")
    parser.add_argument("--scale", type=float, default=1.0, help="of the microcircuit")
    parser.add_argument("--seconds", type=float, default=10.0, help="of model time that are measured")
    parser.add_argument("--compare", type=float, default=1000.0, help="ms of the microcircuit run on the CPU too")
    options = parser.parse_args()
    if options.cpu_spikes:
        write_json(str(KEPT), {"networks": held("numba")})
        return
    results: dict[str, Any] = {"device": device()}
    if "tests" in options.only:
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "tests/gpu"], cwd=ROOT, check=False)
        results["tests_passed"] = done.returncode == 0
    if "training" in options.only:
        results["training"] = training(SIZES)
        write_json(options.json, results)
    if "step" in options.only:
        results["training_step"] = training_step(WIDTHS)
    if "products" in options.only:
        results["products"] = products(WIDTHS[:1])
        write_json(options.json, results)
    if "networks" in options.only:
        results["networks"] = networks()
        write_json(options.json, results)
    if "microcircuit" in options.only:
        results["microcircuit"] = microcircuit(options.scale, options.seconds, options.compare)
    if "growth" in options.only:
        results["growth"] = growth((1.4, 2.0))
    write_json(options.json, results)


if __name__ == "__main__":
    main()
