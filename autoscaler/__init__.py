"""An autoscaler for Ollama on Kubernetes: observe, decide, act, remember, report."""

__version__ = "0.1.0"
