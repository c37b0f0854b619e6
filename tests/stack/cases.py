"""The cases that show when each alert fires and when it keeps silent."""

from tests.stack.rules import (
    TARGET,
    A,
    B,
    answers,
    autoscaler,
    deployment,
    disk,
    each_autoscaler,
    ended,
    failures,
    fires,
    given_back,
    hung,
    lately,
    machine,
    memory,
    paused,
    periods,
    quality,
    reason,
    replicas,
    restarts,
    rising,
    silent,
    slots,
    slowly,
    steady,
    up,
    volume,
    waiting,
)

GROUP = "/a/b.yml;ollama-chat"
IDLE, BUSY = rising(0.03 * 30), rising(0.7 * 30)
"""CPU of a replica that is only checked, and of one that works: cores times 30 seconds."""
AT_MAXIMUM = autoscaler(desired_replicas=steady(6), max_replicas=steady(6))
BELOW_MAXIMUM = autoscaler(desired_replicas=steady(4), max_replicas=steady(6))
NO_REPLICA = {'haproxy_backend_active_servers{proxy="ollama"}': steady(0)}
ASLEEP = (
    NO_REPLICA | deployment("ollama", steady(0), steady(0)) | autoscaler(min_replicas=steady(0))
)
ASKED = 'haproxy_backend_current_sessions{proxy="ollama"}'
HANGS = replicas(a=BUSY, b=IDLE) | slots(steady(1), steady(1))
WHO = {"target": "llm/ollama"}
# Tests begin at second 0, so this is the time of a decision in each cycle.
DECIDING = rising(30)

CASES = (
    fires("GatewayDown", "no gateway is found", {}),
    fires("GatewayDown", "its scrape fails", up("gateway", steady(0))),
    silent("GatewayDown", "one of two answers", up("gateway", "0x60", "a") | up("gateway", "1x60")),
    silent("GatewayDown", "a restart", up("gateway", lately(1, 0, 1))),
    fires("NoReplicaUp", "none passes its checks", NO_REPLICA),
    silent(
        "NoReplicaUp",
        "switched off by a person",
        NO_REPLICA | deployment("ollama", steady(0), steady(0)),
    ),
    silent(
        "NoReplicaUp",
        "switched off by a person, and somebody asks",
        NO_REPLICA
        | deployment("ollama", steady(0), steady(0))
        | autoscaler(min_replicas=steady(2))
        | {ASKED: steady(1)},
    ),
    silent("NoReplicaUp", "asleep", ASLEEP | {ASKED: steady(0)}),
    silent("NoReplicaUp", "just asked", ASLEEP | {ASKED: lately(0, 1, 1)}),
    silent(
        "NoReplicaUp",
        "woken up",
        ASLEEP | deployment("ollama", lately(0, 1, 2), steady(0)) | {ASKED: lately(0, 1, 2.5)},
    ),
    fires("NoReplicaUp", "it does not wake up", ASLEEP | {ASKED: steady(2)}),
    fires(
        "NoReplicaUp",
        "woken up, and no replica comes",
        ASLEEP | deployment("ollama", lately(0, 1, 6), steady(0)) | {ASKED: lately(0, 1, 6)},
    ),
    silent(
        "NoReplicaUp", "they start", {'haproxy_backend_active_servers{proxy="ollama"}': "1x55 0x4"}
    ),
    silent("NoReplicaUp", "one is up", {'haproxy_backend_active_servers{proxy="ollama"}': "1x60"}),
    fires("RequestsFail", "seven of a hundred", answers(rising(9), rising(0.7))),
    silent("RequestsFail", "three of a hundred", answers(rising(97), rising(3))),
    silent("RequestsFail", "one a minute and a half", answers(rising(2), rising(0.33))),
    silent("RequestsFail", "many at once", answers(rising(9), "0x53 20x6")),
    fires("QueueNotDraining", "scaling does not help", waiting(steady(1)) | BELOW_MAXIMUM),
    fires("QueueNotDraining", "the autoscaler is gone", waiting(steady(2))),
    silent("QueueNotDraining", "at the maximum", waiting(steady(2)) | AT_MAXIMUM),
    silent("QueueNotDraining", "empty now and then", waiting("2x50 0 2x9") | BELOW_MAXIMUM),
    silent("QueueNotDraining", "a burst", waiting(lately(0, 5, 12)) | BELOW_MAXIMUM),
    fires("ReplicaStuck", "two requests, one works", HANGS),
    fires(
        "ReplicaStuck",
        "the autoscaler sees nothing of it",
        HANGS | autoscaler(stuck_replicas=steady(0)),
    ),
    silent(
        "ReplicaStuck",
        "the autoscaler tells which",
        HANGS | autoscaler(stuck_replicas=lately(0, 1, 8)),
    ),
    silent("ReplicaStuck", "both work", replicas(a=BUSY, b=BUSY) | slots(steady(1), steady(1))),
    silent(
        "ReplicaStuck",
        "one works slowly",
        replicas(a=BUSY, b=rising(0.07 * 30)) | slots(steady(1), steady(1)),
    ),
    silent(
        "ReplicaStuck",
        "one has nothing to do",
        replicas(a=BUSY, b=IDLE) | slots(steady(1), steady(0)),
    ),
    silent(
        "ReplicaStuck",
        "requests so short that each replica rests",
        replicas(a=BUSY, b=IDLE, c=IDLE) | slots(steady(1), "0 1x9 " * 6, steady(0)),
    ),
    silent(
        "ReplicaStuck",
        "the kubelet says nothing of one",
        {
            series: "_x60" if "cpu" in series and B in series else value
            for series, value in (replicas(a=BUSY, b=BUSY) | slots(steady(1), steady(1))).items()
        },
    ),
    fires(
        "WorkloadDown",
        "no chat page",
        deployment("open-webui", steady(1), steady(0)),
        namespace="llm",
        deployment="open-webui",
    ),
    silent("WorkloadDown", "it starts", deployment("open-webui", steady(1), lately(1, 0, 8))),
    silent("WorkloadDown", "switched off", deployment("open-webui", steady(0), steady(0))),
    fires(
        "ReplicasNotReady",
        "one of three",
        deployment("ollama", steady(3), steady(2)),
        namespace="llm",
        deployment="ollama",
    ),
    silent("ReplicasNotReady", "they start", deployment("ollama", lately(2, 4, 10), steady(2))),
    fires(
        "PodUnschedulable",
        "no room",
        {f'kube_pod_status_unschedulable{{namespace="llm", pod="{A}"}}': steady(1)},
        pod=A,
    ),
    silent(
        "PodUnschedulable",
        "taken back by the autoscaler",
        {f'kube_pod_status_unschedulable{{namespace="llm", pod="{A}"}}': "_x40 1x11 stale"},
    ),
    silent(
        "PodUnschedulable",
        "room is being made",
        {f'kube_pod_status_unschedulable{{namespace="llm", pod="{A}"}}': "_x45 1x14"},
    ),
    fires("PodRestarting", "three times", restarts(A, "0x20 1x10 2x10 3x20"), pod=A),
    silent("PodRestarting", "twice", restarts(A, "0x20 1x10 2x30")),
    silent("PodRestarting", "long ago", restarts(A, steady(40))),
    silent("PodRestarting", "the models' Job", restarts("ollama-models-x7k2p", "0x20 1x10 9x20")),
    fires(
        "PodOutOfMemory",
        "killed just now",
        restarts(A, lately(0, 1, 5)) | ended(A, "OOMKilled"),
        pod=A,
        container="ollama",
    ),
    silent("PodOutOfMemory", "long ago", restarts(A, lately(0, 1, 20)) | ended(A, "OOMKilled")),
    silent("PodOutOfMemory", "another end", restarts(A, lately(0, 1, 5)) | ended(A, "Error")),
    fires("PodMemoryNearLimit", "97 %", memory(A, steady(97)), pod=A),
    silent("PodMemoryNearLimit", "90 %", memory(A, steady(90))),
    silent("PodMemoryNearLimit", "for a short time", memory(A, lately(50, 97, 10))),
    fires("PodThrottled", "four slices of five", periods(A, rising(240)), pod=A),
    silent("PodThrottled", "two slices of five", periods(A, rising(120))),
    silent("PodThrottled", "for a short time", periods(A, "0x39 0+240x20")),
    fires(
        "ModelsNotFetched",
        "the Job has given up",
        {
            'kube_job_failed{namespace="llm", job_name="ollama-models-9h7", condition="true"}': (
                steady(1)
            )
        },
    ),
    fires(
        "ModelsNotFetched",
        "again and again",
        restarts("ollama-models-9h7-x7k2p", "0x20 1x10 2x10 3x20"),
    ),
    silent("ModelsNotFetched", "a bad line", restarts("ollama-models-9h7-x7k2p", "0x20 2x40")),
    silent("ModelsNotFetched", "another pod", restarts(A, "0x20 1x10 2x10 3x20")),
    fires("MachineMemoryFull", "97 %", machine(steady(97)), instance="minikube"),
    silent("MachineMemoryFull", "90 %", machine(steady(90))),
    silent("MachineMemoryFull", "for a short time", machine(lately(50, 97, 5))),
    fires(
        "MachineDiskFull",
        "95 %",
        disk("/dev/nvme0n1p2", steady(95)),
        instance="minikube",
        device="/dev/nvme0n1p2",
    ),
    fires(
        "MachineDiskFull",
        "a machine in a container",
        disk("overlay_0-50", steady(95)),
        instance="minikube",
        device="overlay_0-50",
    ),
    silent("MachineDiskFull", "85 %", disk("/dev/nvme0n1p2", steady(85))),
    silent("MachineDiskFull", "a download", disk("/dev/nvme0n1p2", lately(50, 95, 10))),
    silent("MachineDiskFull", "a read-only image", disk("/dev/loop7", steady(100))),
    fires("VolumeFilling", "5 % left", volume(steady(5)), persistentvolumeclaim="open-webui-data"),
    silent("VolumeFilling", "15 % left", volume(steady(15))),
    silent("VolumeFilling", "for a short time", volume(lately(50, 5, 10))),
    fires("AutoscalerDown", "it is not found", {}),
    fires("AutoscalerDown", "neither of two answers", up("autoscaler", steady(0), "b")),
    silent("AutoscalerDown", "a restart", up("autoscaler", lately(1, 0, 3))),
    silent(
        "AutoscalerDown",
        "one of two is gone",
        up("autoscaler", steady(0), "a") | up("autoscaler", steady(1), "b"),
    ),
    fires(
        "AutoscalerNoLeader",
        "both stand by",
        each_autoscaler("leader", lately(1, 0, 6), steady(0)),
    ),
    silent("AutoscalerNoLeader", "one leads", each_autoscaler("leader", steady(0), steady(1))),
    silent(
        "AutoscalerNoLeader",
        "the other takes over",
        each_autoscaler("leader", "1x30 stale", "0x40 1x19"),
    ),
    silent("AutoscalerNoLeader", "there is no election", up("autoscaler", steady(1))),
    fires(
        "AutoscalerTwoLeaders",
        "no lease is shared",
        each_autoscaler("shadow", steady(0), steady(0), of=TARGET),
        **WHO,
    ),
    silent(
        "AutoscalerTwoLeaders",
        "one only watches",
        each_autoscaler("shadow", steady(0), steady(1), of=TARGET),
    ),
    silent(
        "AutoscalerTwoLeaders",
        "one takes over from the other",
        each_autoscaler("shadow", "0x58 stale", "_x57 0x2", of=TARGET),
    ),
    silent(
        "AutoscalerTwoLeaders",
        "each has a target of its own",
        each_autoscaler("shadow", steady(0), of='target="llm/other"')
        | autoscaler(shadow=steady(0)),
    ),
    fires(
        "AutoscalerConfigRefused",
        "by one of two",
        each_autoscaler("config_reload_success", lately(1, 0, 3), steady(1)),
    ),
    silent(
        "AutoscalerConfigRefused",
        "corrected",
        each_autoscaler("config_reload_success", "1x20 0x20 1x18", steady(1)),
    ),
    fires(
        "AutoscalerStalled",
        "it hangs",
        autoscaler(last_decision_timestamp_seconds=hung(8)),
        **WHO,
    ),
    fires(
        "AutoscalerStalled",
        "it has never been able to read",
        autoscaler(consecutive_failures=steady(1)),
        **WHO,
    ),
    silent(
        "AutoscalerStalled", "four minutes", autoscaler(last_decision_timestamp_seconds=hung(4.5))
    ),
    silent(
        "AutoscalerStalled",
        "not yet for long",
        autoscaler(last_decision_timestamp_seconds=hung(6.5)),
    ),
    silent("AutoscalerStalled", "a start", autoscaler(consecutive_failures=steady(0))),
    silent(
        "AutoscalerStalled",
        "its writes fail",
        autoscaler(consecutive_failures=rising(6), last_decision_timestamp_seconds=DECIDING),
    ),
    silent("AutoscalerStalled", "it works", autoscaler(last_decision_timestamp_seconds=DECIDING)),
    silent(
        "AutoscalerStalled",
        "another one leads now",
        each_autoscaler(
            "last_decision_timestamp_seconds", "0+30x30 stale", "_x30 900+30x29", of=TARGET
        )
        | each_autoscaler("consecutive_failures", "0x30 stale", "_x30 0x29", of=TARGET),
    ),
    fires(
        "AutoscalerCannotWrite",
        "each cycle fails",
        autoscaler(consecutive_failures=steady(1), desired_replicas=steady(4)),
        **WHO,
    ),
    silent(
        "AutoscalerCannotWrite",
        "a failure now and then",
        autoscaler(consecutive_failures="0 1x8 " * 6, desired_replicas=steady(4)),
    ),
    silent(
        "AutoscalerCannotWrite",
        "the first cycle failed",
        autoscaler(consecutive_failures="_x59 1x1", desired_replicas="_x59 4x1"),
    ),
    silent(
        "AutoscalerCannotWrite",
        "it cannot read either",
        autoscaler(consecutive_failures=rising(6, 1)),
    ),
    fires("AutoscalerConflict", "a rival", reason("Conflict", steady(1)), **WHO),
    silent("AutoscalerConflict", "one change by hand", reason("Conflict", lately(0, 1, 10))),
    slowly(
        fires("AutoscalerPausedLong", "both directions", paused(steady(1), steady(1)), **WHO),
    ),
    slowly(fires("AutoscalerPausedLong", "one", paused(steady(0), "0x8 1x51"), **WHO)),
    slowly(silent("AutoscalerPausedLong", "three hours", paused("0x23 1x36", "0x23 1x36"))),
    slowly(silent("AutoscalerPausedLong", "never", paused(steady(0), steady(0)))),
    fires(
        "AutoscalerMetricMissing",
        "no answer",
        quality(Fresh=steady(0), Empty=steady(1)),
        metric="queue_depth",
        **WHO,
    ),
    fires(
        "AutoscalerMetricMissing",
        "no answer, though a replica is ready",
        quality(Fresh=steady(0)) | {f"autoscaler_ready_replicas{{{TARGET}}}": steady(1)},
        metric="queue_depth",
        **WHO,
    ),
    silent(
        "AutoscalerMetricMissing",
        "no replica is ready yet",
        quality(Fresh=steady(0)) | {f"autoscaler_ready_replicas{{{TARGET}}}": steady(0)},
    ),
    silent("AutoscalerMetricMissing", "fresh", quality(Fresh=steady(1), Empty=steady(0))),
    silent("AutoscalerMetricMissing", "a restart of Prometheus", quality(Fresh=lately(1, 0, 5))),
    fires("AutoscalerFallback", "no metric any more", reason("HoldExpired", steady(1)), **WHO),
    silent("AutoscalerFallback", "it holds", reason("HoldExpired", steady(0))),
    fires(
        "AutoscalerChoosesBlindly",
        "twice",
        autoscaler(blind_shrinks_total="0x20 1x20 2x19"),
        **WHO,
    ),
    silent("AutoscalerChoosesBlindly", "once", autoscaler(blind_shrinks_total="0x20 1x40")),
    slowly(
        silent("AutoscalerChoosesBlindly", "long ago", autoscaler(blind_shrinks_total="0x10 3x50")),
    ),
    fires("AutoscalerGivesBack", "twice", given_back("0x10 1x20 2x29"), **WHO),
    silent("AutoscalerGivesBack", "once", given_back("0x20 1x40")),
    fires(
        "AutoscalerReplicaStuck",
        "it stays so",
        autoscaler(stuck_replicas=lately(0, 1, 6)),
        **WHO,
    ),
    fires(
        "AutoscalerReplicaStuck",
        "it is replaced and hangs again",
        autoscaler(stuck_replicas=steady(0), replaced_replicas_total="0x10 1x10 2x10 3x29"),
        **WHO,
    ),
    silent(
        "AutoscalerReplicaStuck",
        "it is replaced",
        autoscaler(stuck_replicas="0x30 1x4 0x25", replaced_replicas_total="0x34 1x25"),
    ),
    fires("AutoscalerAtMaximum", "one waits", waiting(steady(1)) | AT_MAXIMUM, **WHO),
    silent("AutoscalerAtMaximum", "a burst", waiting(lately(0, 3, 17)) | AT_MAXIMUM),
    silent("AutoscalerAtMaximum", "nobody waits", waiting(steady(0)) | AT_MAXIMUM),
    silent("AutoscalerAtMaximum", "more are allowed", waiting(steady(3)) | BELOW_MAXIMUM),
    fires("TargetDown", "no answer", up("kubelet", steady(0)), job="kubelet", instance="a"),
    silent("TargetDown", "a restart", up("kubelet", lately(1, 0, 5))),
    silent("TargetDown", "one with an alert of its own", up("gateway", steady(0))),
    fires("PodMetricsMissing", "nothing", {}, namespace="llm"),
    fires(
        "PodMetricsMissing",
        "no kubelet is found",
        deployment("ollama", steady(2), steady(2)),
        namespace="llm",
    ),
    silent("PodMetricsMissing", "all there", replicas(a=IDLE)),
    silent(
        "PodMetricsMissing",
        "a restart",
        {series: "1x50 stale" if "cpu" in series else "1x60" for series in replicas(a=IDLE)},
    ),
    fires("RulesFail", "again and again", failures("ollama-chat", rising(0.09)), rule_group=GROUP),
    silent("RulesFail", "somebody else's rules", failures("other", rising(2))),
    silent("RulesFail", "once", failures("ollama-chat", "0x50 1x9")),
    silent("RulesFail", "never", failures("ollama-chat", steady(0))),
)
