"""The whole stack on one machine: emulated Kubernetes API, replicas, gateway, load, report."""
