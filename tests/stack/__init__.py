"""What deploy/ and config/ build, judged without a cluster."""
