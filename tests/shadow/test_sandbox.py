"""An HPA on CPU writes in the real sandbox, the daemon watches, and the report says what it saw."""

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from autoscaler.adapters.kubernetes import FIELD_MANAGER
from autoscaler.sandbox.hpa import MANAGER
from autoscaler.settings import PrometheusSettings
from autoscaler.shadow import Asked, compare_records
from autoscaler.shadow.stretches import Kind
from autoscaler.shadow.text import render
from tests.sandbox.stacks import small_stack

SPEED = 30.0
BUSY_CORES = 0.9
"""Of two: 45 % of the request, inside HPA's tolerance around 50: no queue shows in that."""
POLICY = {
    "min_replicas": 2,
    "max_replicas": 6,
    "mode": "shadow",
    "scale_down": {
        "stabilization_window": "60s",
        "cooldown": "0s",
        "policies": [{"type": "percent", "value": 100, "period": "15s"}],
    },
}


class Story:
    """What happens, with the wall-clock time of each part."""

    def __init__(self, stack):
        self.stack = stack
        self.times = {}

    @asynccontextmanager
    async def part(self, name, streams):
        """Keep so many streams running, and note when that began and ended."""
        began, over = datetime.now(UTC), asyncio.Event()
        asking = [asyncio.create_task(self._ask(over)) for _ in range(streams)]
        try:
            yield
        finally:
            self.times[name] = began, datetime.now(UTC)
            over.set()
            await asyncio.gather(*asking)

    async def _ask(self, over):
        while not over.is_set():
            assert await self.stack.chat(300) == "whole"

    async def seconds(self, simulated):
        """Let simulated time pass."""
        await asyncio.sleep(simulated / SPEED)

    async def until_seen(self, fits, what):
        """Wait until the shadow's last cycle fits: what it has not seen, no report can name."""

        def fitting():
            self.stack.log.read()
            return fits(self.stack.log.cycles[-1])

        await self.stack.until(fitting, what)

    async def until_rested(self, simulated):
        """Wait until the shadow has seen a lull for so long, and then a few cycles that are whole.

        A metric that is missing keeps ours up: on a busy machine that happens.
        """
        begin = self.stack.log.cycles[-1].at + timedelta(seconds=simulated / SPEED)

        def rested():
            self.stack.log.read()
            late = [cycle for cycle in self.stack.log.cycles if cycle.at >= begin]
            return sum(not cycle.missing for cycle in late) >= 5

        await self.stack.until(rested, "a long lull")

    def aim(self, target):
        """Change the HPA's target, as somebody edits it."""
        rival = self.stack.lane.rival
        rival.settings = replace(rival.settings, target=target)

    def largest(self, report, name, kind):
        """Return the largest stretch of a kind that lies in a part of the story."""
        begin, end = self.times[name]
        found = [
            each
            for each in report.stretches
            if each.end > begin and each.begin < end and each.kind is kind
        ]
        assert found, f"{name}, {begin} to {end}:\n{render(report, width=None)}"
        return max(found, key=lambda each: abs(each.replica_hours))


async def test_the_report_names_what_an_hpa_does_not_see_does_late_and_takes_away(tmp_path):
    """A queue behind idle CPUs, a burst that it follows late, a shrink under streams; no write."""
    async with small_stack(
        tmp_path, speed=SPEED, replicas=2, policy=POLICY, rival=True, busy_cores=BUSY_CORES
    ) as stack:
        story, lane = Story(stack), stack.lane
        await story.until_seen(lambda cycle: not cycle.missing, "every metric")
        async with story.part("unseen", 5):
            await story.until_seen(lambda cycle: cycle.to >= 5, "a queue")
            await story.seconds(40)
            assert lane.desired() == 2
        await story.until_seen(lambda cycle: cycle.value("queue_depth") == 0, "a lull")
        await story.until_rested(90)
        story.aim(20)
        async with story.part("late", 5):
            await story.until_seen(lambda cycle: cycle.from_ >= 5, "the HPA to follow")
            await story.seconds(40)
            story.aim(50)
        async with story.part("taken", 4):
            await story.until_seen(lambda cycle: cycle.from_ <= 4, "the HPA to shrink")
            await story.seconds(40)
        findings = await _check(stack)
        by_records, by_prometheus = await asyncio.to_thread(_reports, stack)
        writes = list(lane.cluster.audit)
        accesses = set(lane.cluster.accesses)

    assert "HorizontalPodAutoscaler ollama scales it, too" in findings
    _wrote_nothing(writes, accesses)
    for report in (by_records, by_prometheus):
        _names_the_unseen_queue(story, report)
        _names_the_late_burst(story, report)
        _names_the_shrink(story, report)
        assert report.figures.theirs.short > report.figures.ours.short
    assert by_prometheus.source == "prometheus"
    assert MANAGER in by_records.writers


def _wrote_nothing(writes, accesses):
    """Every write that the API was asked for is the HPA's: no Lease, no event, no mark of ours."""
    assert FIELD_MANAGER not in {write.who for write in writes}
    assert {write.who for write in writes} == {MANAGER}
    asked = {(each.verb, each.resource) for each in accesses}
    reading = {"get", "list", "watch"}
    # `check` asks what it would be allowed; that keeps nothing.
    asked = {each for each in asked if each[1] != "selfsubjectaccessreviews"}
    assert {each for each in asked if each[0] not in reading} == {("update", "deployments/scale")}


def _names_the_unseen_queue(story, report):
    stretch = story.largest(report, "unseen", Kind.NEVER_GREW)
    assert stretch.theirs == (2,)
    assert max(stretch.ours) >= 5
    assert "AboveTarget (queue_depth" in stretch.ours_because
    assert stretch.most_waiting >= 2
    # What a CPU shows then is no more than our target value would bear.
    use = next((use for use in stretch.widest.uses if use.per_pod), None)
    assert use is None or use.value < use.target


def _names_the_late_burst(story, report):
    stretch = story.largest(report, "late", Kind.GREW_LATER)
    assert "AboveTarget (queue_depth" in stretch.ours_because
    assert stretch.most_waiting >= 1
    write = stretch.later[0]
    assert (write.writer, write.to > 2) == (MANAGER, True)
    assert stretch.begin < write.at < story.times["late"][1]


def _names_the_shrink(story, report):
    stretch = story.largest(report, "taken", Kind.SHRANK_EARLIER)
    assert (stretch.write.writer, stretch.write.at) == (MANAGER, stretch.begin)
    assert min(stretch.theirs) < min(stretch.ours)
    assert report.figures.gone >= 1


def _reports(stack):
    """Compare by the records alone, and by what Prometheus has kept."""
    files = [stack.plan.places.records]
    prometheus = PrometheusSettings(url=stack.plan.places.prometheus)
    return (
        compare_records(Asked(files=files)),
        compare_records(Asked(files=files, prometheus=prometheus)),
    )


async def _check(stack):
    """Run `autoscaler check` as the daemon is configured."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "autoscaler", "check", "--config", str(stack.plan.config)),
        env={**os.environ, **stack.plan.environment},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return out.decode()
