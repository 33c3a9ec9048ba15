from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inference_operator.runtime.kube import merge_patch

scalars = st.booleans() | st.integers() | st.text(max_size=3)
documents = st.recursive(
    st.dictionaries(st.sampled_from("abcd"), scalars | st.lists(scalars, max_size=3), max_size=4),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner | scalars, max_size=4),
    max_leaves=8,
)


def applied(document: Any, patch: Any) -> Any:
    """RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


@given(documents, documents)
def test_applying_the_patch_to_what_was_gives_what_is(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert applied(before, merge_patch(before, after)) == after


@given(documents)
def test_nothing_is_patched_where_nothing_changed(document: dict[str, Any]) -> None:
    assert merge_patch(document, document) == {}
