"""Try policies on a trace of requests: a simulation, other autoscalers, and bounds."""
