"""Other autoscalers, as far as their arithmetic goes."""
