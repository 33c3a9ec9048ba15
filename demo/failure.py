"""Why the demo fails."""

from __future__ import annotations


class DemoFailed(Exception):
    """Something did not go as it must; the message says what, and notes say what was known then, for a person."""
