"""The impure shell: kopf, the Kubernetes API, threads and clocks around the engine's passes."""
