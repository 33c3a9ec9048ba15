"""What tests of several parts share. The fixtures `sandbox`, `cloud`, `kube` and `control_plane` come from the pytest
plugin `inference_sandbox.pytest_plugin`, as they do for other projects.
"""

from __future__ import annotations

import hypothesis

# A machine under load draws examples slowly. What these tests test is not time.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("long", hypothesis.settings.get_profile("patient"), max_examples=20_000)
hypothesis.settings.load_profile("patient")
