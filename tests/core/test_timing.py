"""Where an attempt's time went, in words."""

from alula.core.timing import spent


def test_all_of_it() -> None:
    assert spent({"queue": 0.0014, "user": 1.5}) == "time: queue 0.001 s, user 1.500 s, in all 1.501 s"
