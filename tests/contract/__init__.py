"""What we rely on in a Kubernetes API: the same cases against the emulated and a real one."""
