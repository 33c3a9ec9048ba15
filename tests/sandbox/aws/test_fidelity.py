from __future__ import annotations

from tests.sandbox.aws.fidelity import PAGE, chapters, page


def test_the_page_of_behaviours_is_the_one_that_the_tests_make() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.sandbox.aws.fidelity"


def test_at_least_150_behaviours_name_the_documentation_that_they_follow() -> None:
    behaviours = [behaviour for chapter in chapters() for behaviour in chapter.behaviours]
    assert len(behaviours) >= 150
    assert all(len(behaviour.documentation) > 10 for behaviour in behaviours)
    assert len({behaviour.sentence for behaviour in behaviours}) == len(behaviours)
