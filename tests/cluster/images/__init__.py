"""The images of deploy/overlays/minikube, made from Debian's packages, Go modules and PyPI."""
