"""Options take their type from the default and refuse what is out of range, saying why."""

import pytest

from sensor.detection import Option


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        (25, "30", 30),
        (0.5, "0.25", 0.25),
        (True, "false", False),
        ("5m", "90s", "90s"),
        ("inside", "outside", "outside"),
    ],
)
def test_text_becomes_the_type_of_the_default(default, text, value):
    parsed = Option(default).parse(text)
    assert parsed == value
    assert type(parsed) is type(default)


@pytest.mark.parametrize(
    ("option", "text", "complaint"),
    [
        (Option(25), "many", "not a whole number"),
        (Option(25), "2.5", "not a whole number"),
        (Option(0.5), "half", "not a number"),
        (Option(0.5), "nan", "not a number"),
        (Option(True), "yes", "neither true nor false"),
        (Option("5m"), "5 parsecs", "not a duration"),
        (Option("5m"), "0s", "longer than 0s"),
    ],
)
def test_text_of_another_type_is_refused_with_the_reason(option, text, complaint):
    with pytest.raises(ValueError, match=complaint):
        option.parse(text)


def test_a_range_holds_on_the_line_and_not_one_beyond():
    option = Option(25, min=2, max=30)
    assert option.parse("2") == 2
    assert option.parse("30") == 30
    with pytest.raises(ValueError, match="at least 2"):
        option.parse("1")
    with pytest.raises(ValueError, match="at most 30"):
        option.parse("31")
