"""Everything on a real Kubernetes, by one command: `make test-cluster`.

    python -m tests.cluster.run [--existing] [--only WORDS]

Builds what is not built yet, starts a cluster, runs the tests in it, removes it, and prints what
was measured. `--existing`: on the cluster that KUBECONFIG names, which must have the images.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from tests.cluster import figures
from tests.cluster.kube.machine import Existing, Machine, MachineError
from tests.cluster.stack import SHIPPED, make_volumes

HERE = Path(__file__).parent
CONTRACT = "../contract"
# A phase's lanes go side by side. In a lane one process follows another, each with its files. What
# stops parts of the cluster runs alone.
PHASES = (
    ("the stack comes up", ((["test_apply.py"],),)),
    (
        "load and a stuck replica; what operators do, and real and emulated API alike",
        (
            (["test_load.py", "test_stuck.py"],),
            (["test_operator.py"], [CONTRACT], ["test_machine.py"]),
        ),
    ),
    # One process: the node that it switches off and on ends with it.
    ("faults, and what is known by then", ((["test_faults.py", "test_observed.py"],),)),
)
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider"]
console = Console(width=160 if not sys.stdout.isatty() else None)


def step(what: str):
    """Print what begins now."""
    console.print(f"[bold]{what}[/]  [dim]{time.strftime('%H:%M:%S')}[/]", highlight=False)


def images(*options) -> Path:
    """Build the images, if they are not built yet, and tell where they are."""
    built = subprocess.run(
        [HERE / "images" / "build.sh", *options], stdout=subprocess.PIPE, text=True, check=False
    )
    if built.returncode:
        raise MachineError("the images could not be built: see above")
    return Path(built.stdout.strip().splitlines()[-1])


def run(files: list[str], environment: dict[str, str], only: str) -> int:
    """Run test files in a process of their own; returns how it ended."""
    command = [
        *PYTEST,
        "-q" if CONTRACT in files else "-v",
        "--timeout=900",
        "--durations=5",
        *(["-k", only] if only else []),
        *(HERE / file for file in files),
    ]
    return subprocess.run(command, env=environment, check=False).returncode


def acceptance(environment: dict[str, str], only: str) -> bool:
    """Run the phases, and tell whether all is well."""

    def lane(processes) -> bool:
        ends = [run(files, environment, only) for files in processes]
        return all(end in (0, 5 if only else 0) for end in ends)

    good = True
    for name, lanes in PHASES:
        step(name)
        with ThreadPoolExecutor() as pool:
            good &= all(list(pool.map(lane, lanes)))
    return good


def main() -> int:
    """Run everything; 0 if all is well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--existing", action="store_true", help="on the cluster of KUBECONFIG")
    parser.add_argument("--only", default="", help="tests whose names have these words")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "figures.jsonl"
        environment = os.environ | {"CLUSTER_FIGURES": str(kept)}
        if options.existing:
            environment["CLUSTER"] = "existing"
            good = acceptance(environment, options.only)
            step("the shipped times again")
            Existing().kubectl("apply", "-k", SHIPPED, timeout=300)
        else:
            good = on_a_cluster_of_our_own(environment, options.only)
        figures.show(figures.read(kept), console)
    console.print(
        f"{'passed' if good else 'FAILED'} in {(time.monotonic() - began) / 60:.1f} minutes"
    )
    return 0 if good else 1


def on_a_cluster_of_our_own(environment: dict[str, str], only: str) -> bool:
    """Build, start, test, remove."""
    step("programs and images")
    machine = Machine()
    folder = images("--kube", machine.programs)
    environment |= {"CONTRACT_API": "real", "KUBE_PROGRAMS": str(machine.programs)}
    step("cluster")
    machine.stop()
    try:
        machine.start()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(machine.load_image, sorted(folder.glob("*.tar"))))
        make_volumes(machine, folder / "models")
        good = acceptance(environment, only)
    finally:
        machine.stop()
    left = machine.left_behind()
    console.print("nothing is left behind" if not left else f"left behind: {left}")
    return good and not left


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MachineError as error:
        sys.exit(f"make test-cluster: {error}")
