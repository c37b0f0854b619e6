"""Kubernetes' own autoscaler (HPA) as a model: pure arithmetic, for whoever stands in for it.

    pods     which pods count, and how
    counts   from a metric to a number of replicas (replica_calculator.go)
    rules    stabilization windows, rate policies and bounds (horizontal.go)

The sandbox's rival writes by it, the backtest's HPA and KEDA decide by it; the figures of the
controller's own tests hold it (tests/backtest/peers).
"""
