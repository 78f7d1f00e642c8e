"""Chaos for the cluster: a run on real Dask processes, any of which may be hurt at any moment."""

from __future__ import annotations

import math
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import click

from chaos.faults import TARGETS, TCP_SECONDS, WEIGHTS, Cluster, Mischief
from chaos.reader import differing
from chaos.sabotage import SABOTAGE, VARIABLE
from chaos.services import Namespace, Service, spot_dask
from chaos.trainings import LOG, MARK, Verdict, judge, orphans, present, study, trainings

WATCH_SECONDS = 1.0
"""How often the journal is read while the run goes on."""

END_SECONDS = 20.0
"""How long the processes may take to go when all is over."""


@dataclass(frozen=True)
class Size:
    """How large a run is: trainings, their seconds, a fault about every ``pause`` seconds.

    The first fault comes when a training has begun; after ``faults`` the run is left in peace.
    """

    evaluations: int = 120
    seconds: float = 4.0
    pause: float = 1.5
    limit: float = 1200.0
    faults: float = math.inf


SOUGHT: dict[str, tuple[Size, tuple[str, ...]]] = {
    "no attach": (Size(evaluations=16, seconds=30.0, pause=15.0), ("coordinator",)),
}
"""Sabotage -> the size at which it shows, and whom to hurt; elsewhere the full size and anybody.

Only a training that outlasts the restart of its coordinator can be trained again for nothing: of
those of 4 s, most have ended, and wait in the inbox, before the next coordinator is there.
"""


@dataclass
class Scene:
    """A run of chaos in a folder of its own."""

    folder: Path
    size: Size
    seed: int
    sabotage: str | None = None
    targets: tuple[str, ...] = TARGETS
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    partitions: bool = False

    @property
    def store(self) -> Path:
        return self.folder / "run.zarr"

    @property
    def notes(self) -> Path:
        """What trainings note; there is nothing before the first has begun."""
        return self.folder / "notes"

    def play(self) -> tuple[Verdict, list[str]]:
        """Run it to its end; the verdict, and the kinds of the faults that were injected."""
        chance = random.Random(self.seed)
        (self.folder / "study.py").write_text(study(self.size.evaluations, self.size.seconds))
        seen: dict[int, str] = {}
        altered = 0
        with self._cluster() as cluster:
            mischief = Mischief(self.name, cluster, chance, self.targets)
            began = strike = watch = time.monotonic()
            while not self._is_over(cluster) and time.monotonic() - began < self.size.limit:
                mischief.tend()
                for service in cluster:
                    service.tend(chance)
                peace = len(mischief.done) >= self.size.faults or not self.notes.exists()
                if time.monotonic() >= strike and not peace:
                    strike = time.monotonic() + chance.expovariate(1 / self.size.pause)
                    mischief.strike()
                if time.monotonic() >= watch:
                    watch = time.monotonic() + WATCH_SECONDS
                    now = present(self.store)
                    altered += sum(now.get(n) != text for n, text in seen.items())
                    seen |= now
                time.sleep(0.02)
            mischief.tend(at_once=True)
        left = orphans(self.name, END_SECONDS)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        verdict = judge(
            trainings(self.notes),
            mischief.done,
            seen,
            present(self.store),
            self.size.evaluations,
        )
        verdict.lost += altered
        differing = self._differing()
        verdict.invented += len(differing)
        verdict.remarks += differing
        verdict.orphans = len(left)
        return verdict, [fault.kind for fault in mischief.done]

    def _differing(self) -> list[str]:
        """What an export and the newest table of the run do not have as its journal does."""
        words = spot_dask("export", str(self.store), "--to", "jsonl", "-o", "-")
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            return [f"no export: {done.stderr}"]
        return differing(self.store, done.stdout)

    def _is_over(self, cluster: Cluster) -> bool:
        """Whether a coordinator has ended since the budget is used up."""
        coordinator = cluster.coordinator
        return coordinator.process is not None and coordinator.process.poll() == 0

    @contextmanager
    def _cluster(self) -> Iterator[Cluster]:
        """The services, not yet started; all of them gone in good order in the end."""
        with ExitStack() as stack:
            inner = [self._namespace(i, stack) for i in range(3)]
            self.partitions = all(inner)
            cluster = self._services(*(inner if self.partitions else (None, None, None)))
            try:
                yield cluster
            finally:
                for service in reversed(list(cluster)):
                    service.end(signal.SIGCONT)
                    service.end(signal.SIGTERM)
                deadline = time.monotonic() + END_SECONDS
                while any(service.pid for service in cluster) and time.monotonic() < deadline:
                    time.sleep(0.1)
                for service in cluster:
                    service.destroy()

    def _namespace(self, i: int, stack: ExitStack) -> Namespace | None:
        net = (int(self.name, 16) + i) % 250 + 1
        namespace = Namespace(f"sc{self.name}{i}", net)
        if not namespace.create():
            return None
        stack.callback(namespace.delete)
        return namespace

    def _services(
        self, for_worker: Namespace | None, for_nanny: Namespace | None, for_us: Namespace | None
    ) -> Cluster:
        port = _free_port()
        where = "0.0.0.0" if self.partitions else "127.0.0.1"

        def address(namespace: Namespace | None) -> str:
            return f"tcp://{namespace.outside if namespace else '127.0.0.1'}:{port}"

        def host(namespace: Namespace | None) -> str:
            return namespace.inside if namespace else "127.0.0.1"

        def service(label: str, words: list[str], namespace: Namespace | None = None) -> Service:
            return Service(label, lambda: words, self.folder, self._environment(), namespace)

        def worker(label: str, namespace: Namespace | None = None) -> Service:
            words = spot_dask(
                "worker", address(namespace), "--slots", "2", "--host", host(namespace),
                "--local-directory", str(self.folder / label), "--insecure", "--grace", "10s",
            )  # fmt: skip
            return service(label, words, namespace)

        def nanny(label: str, namespace: Namespace | None = None) -> Service:
            words = [
                sys.executable, "-m", "dask", "worker", address(namespace), "--nthreads", "2",
                "--host", host(namespace), "--local-directory", str(self.folder / label),
                "--memory-limit", "0", "--no-dashboard",
            ]  # fmt: skip
            return service(label, words, namespace)

        def coordinate() -> list[str]:
            verb = ["resume", str(self.store)]
            if not (self.store / "zarr.json").exists():
                shutil.rmtree(self.store, ignore_errors=True)
                verb = ["run", "study.py", "--store", str(self.store)]
            # In half of the cases a signal leaves what runs to the next one.
            detach = ["--detach"] if random.random() < 0.5 else []
            flags = ["--insecure", "--no-report", "--progress", "plain", *detach]
            return spot_dask(*verb, "--scheduler", address(for_us), *flags)

        scheduler = spot_dask(
            "scheduler", "--host", where, "--port", str(port), "--dashboard", "127.0.0.1:0",
            "--insecure",
        )  # fmt: skip
        return Cluster(
            service("scheduler", scheduler),
            Service("coordinator", coordinate, self.folder, self._environment(), for_us),
            [worker("worker-0"), worker("worker-1", for_worker)],
            [nanny("nanny-0"), nanny("nanny-1", for_nanny)],
        )

    def _environment(self) -> dict[str, str]:
        tcp = f"{TCP_SECONDS}s"
        environment = {
            **os.environ,
            MARK: self.name,
            LOG: str(self.notes),
            "OMP_NUM_THREADS": "1",
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": tcp,
        }
        if self.sabotage is not None:
            place = str(Path(__file__).with_name("sabotage"))
            paths = [place, environment.get("PYTHONPATH", "")]
            environment |= {VARIABLE: self.sabotage, "PYTHONPATH": os.pathsep.join(paths)}
        return environment


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("", 0))
        port: int = found.getsockname()[1]
        return port


@click.command(context_settings={"show_default": True})
@click.option("--seed", "seeds", multiple=True, type=int, default=(0,))
@click.option("--evaluations", type=int, help=f"Trainings of each run [{Size.evaluations}].")
@click.option("--seconds", type=float, help=f"Of a training, about [{Size.seconds:g}].")
@click.option("--pause", type=float, help=f"Seconds between faults, on average [{Size.pause:g}].")
@click.option("--limit", type=float, help=f"Seconds after which it has failed [{Size.limit:g}].")
@click.option("--faults", type=float, help="After which it is left in peace [none].")
@click.option("--sabotage", type=click.Choice(list(SABOTAGE)), help="Break the product first.")
@click.option("--folder", type=click.Path(file_okay=False), help="Where to keep all files.")
@click.option("--target", "targets", multiple=True, type=click.Choice(TARGETS), help="[anybody]")
def main(
    seeds: tuple[int, ...],
    sabotage: str | None,
    targets: tuple[str, ...],
    folder: str | None,
    **given: float | None,
) -> None:
    """Hurt the processes of a cluster while it trains; exit 1 if that did any harm.

    A sabotage has a size of its own where the full one does not show it.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # leave nothing behind
    usual, sought = SOUGHT.get(sabotage or "", (Size(), TARGETS))
    size = replace(usual, **{name: value for name, value in given.items() if value is not None})
    faults: Counter[str] = Counter()
    verdicts: dict[int, Verdict] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for seed in seeds:
            place = Path(folder or temporary).absolute() / f"seed-{seed}"
            place.mkdir(parents=True)
            scene = Scene(place, size, seed, sabotage, targets or sought)
            began = time.monotonic()
            verdicts[seed], kinds = scene.play()
            faults.update(kinds)
            if not scene.partitions:
                click.echo("no partitions: this machine allows no network namespaces", err=True)
            for remark in verdicts[seed].remarks:
                click.echo(f"seed {seed}: {remark}", err=True)
            seconds = time.monotonic() - began
            click.echo(f"seed {seed}: {len(kinds)} faults in {seconds:.0f} s", err=True)
    _show(faults, verdicts)
    sys.exit(1 if any(verdict.failures for verdict in verdicts.values()) else 0)


def _show(faults: Counter[str], verdicts: dict[int, Verdict]) -> None:
    for kind in WEIGHTS:
        if faults[kind]:
            click.echo(f"{kind:<34}{faults[kind]:>6}")
    click.echo(f"{'faults':<34}{faults.total():>6}")
    names = [f.name for f in fields(Verdict) if f.name != "remarks"]
    click.echo("\n" + f"{'seed':<8}" + "".join(f"{n.replace('_', ' '):>13}" for n in names))
    for seed, verdict in verdicts.items():
        click.echo(f"{seed:<8}" + "".join(f"{getattr(verdict, n):>13}" for n in names))
    total = [sum(getattr(v, n) for v in verdicts.values()) for n in names]
    click.echo(f"{'total':<8}" + "".join(f"{value:>13}" for value in total))


if __name__ == "__main__":
    main()
