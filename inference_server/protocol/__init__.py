"""The Open Inference Protocol (V2) as pure functions: bytes in, tensors out, and back.

Knows nothing of Flask, WSGI, models or files, so that it can be fuzzed and reused as it is.
"""
