"""`python -m inference_sandbox` is `inference-sandbox`."""

from __future__ import annotations

from inference_sandbox.cli import main

if __name__ == "__main__":
    main(prog_name="inference-sandbox")
