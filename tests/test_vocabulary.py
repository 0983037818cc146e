"""The codec that a run builds: the task's symbols, the tokens a model knows, the tokens an objective adds."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runs import tiny_run
from tests.tokens import byte_level
from unforced.data.codec import SymbolCodec
from unforced.data.vocabulary import Vocabulary, build_codec
from unforced.errors import UserError
from unforced.objectives.base import Needs
from unforced.objectives.next_token import NextToken
from unforced.tasks.path_star import PathStar

TASK = PathStar(degree=2, path_length=3, num_nodes=12)


@given(known=st.integers(0, 50), names=st.lists(st.sampled_from("abcdef"), unique=True))
def test_symbols_come_behind_what_a_model_knows_and_special_tokens_behind_the_symbols(known, names):
    codec = build_codec(TASK, Vocabulary(known), names)
    assert codec.mask_token == known + len(TASK.alphabet)
    assert codec.specials == {name: codec.mask_token + 1 + i for i, name in enumerate(names)}
    assert codec.vocab_size == codec.mask_token + 1 + len(names)
    batch = codec.encode(TASK.sample(np.random.default_rng(0), 4), "forward")
    assert batch.specials == codec.specials
    assert batch.rows(slice(2)).specials == codec.specials


def test_special_tokens_change_no_other_token():
    problems = TASK.sample(np.random.default_rng(0), 8)
    plain, special = (
        SymbolCodec.of(TASK, 3, names).encode(problems, "reversed") for names in ((), ("stop",))
    )
    assert plain.prompt.tolist() == special.prompt.tolist()
    assert plain.answer.tolist() == special.answer.tolist()
    assert plain.mask_token == special.mask_token


def text_vocabulary(mask_token=None):
    tokenizer = byte_level(TASK.lines(TASK.sample(np.random.default_rng(0), 50)))
    return Vocabulary(len(tokenizer), tokenizer, mask_token)


def test_a_tokenizer_gets_special_tokens_of_its_own():
    vocabulary = text_vocabulary()
    plain, codec = build_codec(TASK, vocabulary), build_codec(TASK, vocabulary, ["stop", "register"])
    assert sorted(codec.specials.values()) == [plain.vocab_size, plain.vocab_size + 1]
    assert codec.vocab_size == plain.vocab_size + 2
    assert codec.tokenizer.convert_ids_to_tokens(codec.specials["stop"]) == "<|stop|>"
    assert codec.encode(TASK.sample(np.random.default_rng(0), 4), "forward").specials == codec.specials


def test_special_tokens_do_not_go_with_a_mask_token_of_the_tokenizers_own():
    with pytest.raises(
        UserError, match=r"model.mask_token: the objective adds tokens of its own \(stop\).*drop it"
    ):
        build_codec(TASK, text_vocabulary("0"), ["stop"])


class Needing(NextToken):
    """Next-token prediction that says it needs more."""

    name: Literal["needing"] = "needing"
    attention: str = "causal"
    tokens: tuple[str, ...] = ()

    @property
    def needs(self):
        return Needs(self.attention, self.tokens)


def test_a_run_has_the_special_tokens_of_its_objective():
    run = tiny_run()
    more = run.replace(objective=Needing(tokens=("stop",)))
    assert more.codec.specials == {"stop": run.codec.vocab_size}
    assert more.codec.vocab_size == run.codec.vocab_size + 1


@pytest.mark.parametrize("needed", ["full", "mask"])
def test_a_model_that_cannot_attend_as_the_objective_needs_is_refused(needed):
    objective = Needing(attention=needed)
    assert tiny_run().replace(objective=objective).objective == objective
    line = f"objective needing needs {needed} attention; model mamba is causal only; use model=gpt"
    with pytest.raises(UserError) as error:
        tiny_run("model=mamba").replace(objective=objective)
    assert str(error.value) == line
