"""`kubectl inference`: reads and annotates InferenceDeployments with the rights of the kubeconfig, and nothing else.

It asks no AWS and needs no credentials for it: what it knows, the status tells. `timeline` and `verdict` are pure.
"""
