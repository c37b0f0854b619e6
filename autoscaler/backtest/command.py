"""`autoscaler backtest`: one trace, one policy, one row of figures, and the hashes of both ends."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path as FilePath

from rich.console import Console
from rich.progress import Progress

from autoscaler.backtest.engine import simulate
from autoscaler.backtest.figures import Run
from autoscaler.backtest.ours import Ours, Path
from autoscaler.backtest.requests import Requests, read, thin
from autoscaler.backtest.scaler import Fixed, Scaler
from autoscaler.backtest.service import service_named
from autoscaler.decision.model import Policy
from autoscaler.decision.record import to_json
from autoscaler.decision.words import MetricType
from autoscaler.errors import InputError
from autoscaler.settings import TargetSettings, to_policy

_KNOWN = {MetricType.TOTAL: "haproxy_", MetricType.POD: "container_cpu_usage_seconds_total"}
"""What a query must ask for, so that a run can answer it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to run."""

    trace: FilePath
    service: str
    seed: int
    share: float
    wish: timedelta
    """Within this time a request should have a slot."""
    slots: int | None = None
    phi: float | None = None
    fixed: int | None = None
    """That many replicas all the time, instead of a policy."""
    max_replicas: int | None = None
    """Instead of the configured bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    scaler: Scaler
    initial: int
    name: str
    told: Mapping[str, object]
    """All that decides, as JSON."""


def backtest(options: Options, target: TargetSettings | None, interval: timedelta) -> "Report":
    """Run it. `target` may be left out where the number is fixed. Raises InputError."""
    changes = {"slots": options.slots, "phi": options.phi}
    service = service_named(
        options.service, **{key: value for key, value in changes.items() if value is not None}
    )
    requests = thin(read(options.trace), options.share, options.seed)
    if not len(requests):
        raise InputError(f"--share = {options.share:g} of {options.trace.name} leaves no request")
    warm = requests.warm(service)
    if options.fixed is not None:
        plan = _fixed(options.fixed)
    elif target is not None:
        plan = _ours(target, options.max_replicas, warm, interval)
    else:
        raise InputError("--fixed or a configuration must be given")
    with Progress(console=Console(stderr=True), transient=True, disable=_is_piped()) as bar:
        task = bar.add_task(plan.name, total=1.0)
        run = simulate(
            requests,
            service,
            plan.scaler,
            seed=options.seed,
            initial=plan.initial,
            progress=lambda part: bar.update(task, completed=part),
        )
    return Report(options=options, requests=requests, run=run, plan=plan)


def _is_piped() -> bool:
    return sys.stderr is None or not sys.stderr.isatty()


def _fixed(replicas: int) -> _Plan:
    if replicas < 1:
        raise InputError(f"--fixed = {replicas}, must be at least 1")
    name = f"fixed at {replicas}"
    return _Plan(scaler=Fixed(), initial=replicas, name=name, told={"fixed": replicas})


def _ours(target: TargetSettings, most: int | None, warm: int, interval: timedelta) -> _Plan:
    for metric in target.metrics:
        if _KNOWN[metric.type] not in metric.query:
            raise InputError(
                f"metric {metric.name}: a run cannot answer its query, which must ask for"
                f" {_KNOWN[metric.type]}* as the shipped one does"
            )
    policy = _bounded(to_policy(target), most)
    seconds = interval.total_seconds()
    if seconds != round(seconds):
        raise InputError(f"interval = {seconds:g}s, must be whole seconds in a run")
    path = Path(interval=round(seconds))
    initial = min(max(warm, policy.min_replicas), policy.max_replicas)
    return _Plan(
        scaler=Ours(policy, path),
        initial=initial,
        name=f"ours, {policy.min_replicas} to {policy.max_replicas} replicas",
        told={"ours": to_json(policy), "path": asdict(path)},
    )


def _bounded(policy: Policy, most: int | None) -> Policy:
    if most is None:
        return policy
    try:
        return replace(policy, max_replicas=most)
    except ValueError as refusal:
        raise InputError(f"--max-replicas = {most}: {refusal}") from refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of it, to be read by people or programs."""

    options: Options
    requests: Requests
    run: Run
    plan: _Plan

    def input_hash(self) -> str:
        """Return the hash of everything that the figures rest on."""
        wish = {"wish_s": self.options.wish.total_seconds()}
        return self.run.input_hash({**self.plan.told, **wish})

    def as_json(self) -> str:
        """Return everything as one JSON object on one line."""
        options, run = self.options, self.run
        figures = run.figures(options.wish.total_seconds())
        told = {
            "trace": self.requests.name,
            "set": options.service,
            "seed": options.seed,
            "share": options.share,
            "wish_s": options.wish.total_seconds(),
            "policy": self.plan.name,
            "initial": run.initial,
            "load": self.requests.load(run.service),
            "figures": asdict(figures),
            "inputs_hash": self.input_hash(),
            "result_hash": run.result_hash(),
        }
        return json.dumps(told, separators=(",", ":"))

    def lines(self) -> list[str]:
        """Return what it was, a table with its row, and the hashes."""
        run, requests, wish = self.run, self.requests, self.options.wish.total_seconds()
        figures = run.figures(wish)
        hours = figures.hours or 1.0
        row = {
            "policy": self.plan.name,
            f"within {wish:g} s": f"{figures.share:.2%}",
            "replica-h": f"{figures.replica_hours:,.2f}",
            "most": str(figures.most),
            "wait p50": f"{figures.wait_p50:.1f} s",
            "p99": f"{figures.wait_p99:.1f} s",
            "drops": str(figures.drops),
            "gave up": str(figures.gave_up),
            "cut": str(figures.cut),
            "actions/h": f"{figures.actions / hours:.1f}",
            "reversals/h": f"{figures.reversals / hours:.1f}",
            "starts/1000": f"{1000 * figures.starts / figures.requests:.1f}",
        }
        widths = [max(len(key), len(value)) for key, value in row.items()]
        count, load = f"{len(requests):,} requests", requests.load(run.service)
        slots = f"{run.service.slots} slot(s) per replica"
        return [
            f"trace    {requests.name}: {count} in {figures.hours:,.2f} h, {load:.2f} slots busy",
            f"service  {run.service.name}, {slots}, {run.initial} at the start, seed {run.seed}",
            f"inputs   {self.input_hash()}",
            f"result   {run.result_hash()}",
            "",
            "  ".join(f"{key:>{width}}" for key, width in zip(row, widths, strict=True)).rstrip(),
            "  ".join(f"{text:>{width}}" for text, width in zip(row.values(), widths, strict=True)),
        ]
