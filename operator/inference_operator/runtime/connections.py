"""AWS clients by region and role, made once: what objects share, they share through these."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec
from inference_operator.aws.clients import CallObserver, Role, connect
from inference_operator.aws.ports import Aws
from inference_operator.aws.quotas import Pace


class Connections:
    """As `engine.objects.Connect`."""

    def __init__(
        self,
        observer: CallObserver,
        changed: Callable[[str, str], None],
        before_try: Callable[[], None] = lambda: None,
    ) -> None:
        self._observer = observer
        self._changed = changed
        self._before_try = before_try
        self._made: dict[tuple[str, Role | None], Aws] = {}
        self._lock = threading.Lock()

    def __call__(self, environment: InferenceEnvironmentSpec) -> Aws:
        arn = environment.assume_role_arn
        where = (environment.region, Role(arn, environment.external_id) if arn is not None else None)
        with self._lock:
            if where not in self._made:
                self._made[where] = connect(
                    *where,
                    pace=Pace(time.monotonic),
                    observer=self._observer,
                    on_change=self._changed,
                    before_try=self._before_try,
                )
            return self._made[where]
