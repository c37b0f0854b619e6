"""Other autoscalers against the figures of their own tests."""
