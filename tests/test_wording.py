"""Settings in errors, as they are given in Python, on the command line, and for a model from elsewhere."""

import pytest

from unforced.errors import UserError
from unforced.wording import named, offered, on_the_command_line, renamed, typed

SETTINGS = [("count", 300), ("first_symbol", None), ("resume", True), ("base", "FOLDER"), ("only", "*-0")]
IN_PYTHON = ["count=300", "first_symbol=", "resume=True", "base=FOLDER", "only='*-0'"]
AS_OPTIONS = ["--count 300", "--first-symbol", "--resume", "--base FOLDER", "--only '*-0'"]


def test_settings_are_spelled_as_they_are_given_and_fields_of_a_run_by_their_paths():
    def spelled():
        return [typed(*setting) for setting in SETTINGS]

    assert spelled() == IN_PYTHON
    with on_the_command_line():
        assert spelled() == AS_OPTIONS
        assert typed("model.encoding", "symbol") == "model.encoding=symbol"
        assert str(UserError("too few", about="first_symbol")) == "--first-symbol: too few"
    assert spelled() == IN_PYTHON
    assert str(UserError("it is\nunknown", about="model.mask_token")) == "model.mask_token: it is unknown"


def test_what_stands_for_a_field_is_named_in_its_place_until_the_context_ends():
    names = {"model.encoding": "encoding", "model.name_or_path": "MODEL", "base": None}
    with on_the_command_line(), renamed(names):
        assert typed("model.encoding", "symbol") == "--encoding symbol"
        assert named("model.name_or_path") == "MODEL"
        assert (offered("base"), offered("plugin")) == (False, True)
    with pytest.raises(UserError, match=r"^encoding: it is"), renamed(names):
        raise UserError(f"it is {typed('model.encoding', 'text')}", about="model.encoding")
    assert named("model.encoding") == "model.encoding"
    assert (offered("base"), offered("plugin")) == (True, False)
