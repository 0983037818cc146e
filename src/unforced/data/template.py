"""Templates: how a prompt and its answer stand in the text that a language model reads.

{prompt}{answer}           1,7|1,4|7,9|4,2/1,9=1,7,9<eos>             what `unforced data export` writes
Q: {prompt} A: {answer}    Q: 1,7|1,4|7,9|4,2/1,9= A: 1,7,9<eos>
a chat template            <|user|>1,7|1,4|7,9|4,2/1,9=<|end|><|assistant|>1,7,9<|end|>
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unforced.errors import UserError
from unforced.tasks.base import Problems, Task
from unforced.wording import typed

PROMPT, ANSWER = "{prompt}", "{answer}"
_QUOTED = 20  # characters of a text that errors quote
_ASKED, _ANSWERED = "the-prompt-stands-here", "the-answer-stands-here"
_ESCAPES = {r"\n": "\n", r"\t": "\t"}
Turn = Mapping[str, str]


@dataclass(frozen=True)
class Template:
    """The text around a prompt and its answer.

    before   stands before the prompt
    between  stands between prompt and answer, as part of the prompt
    lead     stands there too, blanks that a tokenizer joins with the answer, and so a part of it
    after    stands behind the answer; its first token ends the answer (empty: the end-of-text token does)
    whole    the text has its special tokens in it, so the tokenizer adds none
    keeps_joint  what a task puts behind prompts to part them from answers (task.separator) stays there
    """

    before: str = ""
    between: str = ""
    lead: str = ""
    after: str = ""
    whole: bool = False
    keeps_joint: bool = False

    @classmethod
    def parse(cls, text: str) -> "Template":
        r"""Read `...{prompt}...{answer}...`, with \n and \t for a line's end and a tab. Raises UserError."""
        for written, meant in _ESCAPES.items():
            text = text.replace(written, meant)
        before, prompt, rest = text.partition(PROMPT)
        between, answer, after = rest.partition(ANSWER)
        if not prompt or not answer or PROMPT in between + after or ANSWER in before + after:
            raise UserError(
                f"{text!r} must have {PROMPT} once, and then {ANSWER} once, as in 'Q: {PROMPT} A: {ANSWER}'",
                about="template",
            )
        return cls(before, between, after=after)

    @classmethod
    def of_chat(cls, tokenizer: Any, name: str) -> "Template":
        """Take a tokenizer's chat template: the user asks, the assistant answers. Raises UserError."""
        asked = {"role": "user", "content": _ASKED}
        answered = {"role": "assistant", "content": _ANSWERED}
        before, _, between = conversation(tokenizer, [asked], name).partition(_ASKED)
        after = conversation(tokenizer, [asked, answered], name, to_be_continued=False)
        return cls(before, between, after=after.rpartition(_ANSWERED)[2], whole=True)

    def prompt(self, text: str) -> str:
        """Write what stands before an answer, but for the lead."""
        return f"{self.before}{text}{self.between}"

    def prompts(self, task: Task, problems: Problems) -> list[str]:
        """Write what stands before the answers of problems."""
        return [self.prompt(text) for text in self.bare_prompts(task, problems)]

    def bare_prompts(self, task: Task, problems: Problems) -> list[str]:
        """Write the prompts alone, without what otherwise parts them from answers, unless it is kept."""
        written = task.text
        texts = written.prompts(problems)
        return texts if self.keeps_joint else [text.removesuffix(written.joint) for text in texts]

    def fitted(self, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> "Template":
        """Move as many blanks from the prompt's end into the answer as the tokenizer joins with it.

        pairs: prompts and answers to try. Raises UserError if it joins others with it, where the template is
        one that was given.
        """
        blanks = len(self.between) - len(self.between.rstrip())
        for count in range(blanks + 1):
            kept = len(self.between) - count
            moved = replace(self, between=self.between[:kept], lead=self.between[kept:])
            if all(moved._is_apart(tokenizer, *pair) for pair in pairs):
                return moved
        if self.keeps_joint:
            return self  # what a problem's own text is made of is refused with the problem's place
        prompt, answer = next(pair for pair in pairs if not self._is_apart(tokenizer, *pair))
        end = self.prompt(prompt)[-_QUOTED:]
        raise UserError(
            f"the tokenizer joins the end of a prompt with its answer in {end + answer[:_QUOTED]!r}; give a "
            "template in which they stay apart, as in training",
            about="template",
        )

    def _is_apart(self, tokenizer: Any, prompt: str, answer: str) -> bool:
        try:
            head = _ids(tokenizer, self.prompt(prompt))
            return _ids(tokenizer, self.prompt(prompt) + self.lead + answer)[: len(head)] == head
        except Exception:  # of tokenizers, for a text that it does not know when it is cut so
            return False

    def end(self, tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> int | None:
        """Return the token that ends an answer: the first one of `after`; None if nothing stands there.

        Raises UserError if the tokenizer joins it with answers.
        """
        if not self.after:
            return None
        ends = {self._end_of(tokenizer, *pair) for pair in pairs}
        if len(ends) > 1 or None in ends:
            raise UserError(
                f"the tokenizer joins what stands behind {ANSWER}, {self.after!r}, with answers, "
                "or answers have its first token; put there what ended answers in training, or nothing",
                about="template",
            )
        return ends.pop()

    def _end_of(self, tokenizer: Any, prompt: str, answer: str) -> int | None:
        head = self.prompt(prompt)
        text = f"{head}{self.lead}{answer}"
        bare, closed = _ids(tokenizer, text), _ids(tokenizer, text + self.after)
        if closed[: len(bare)] != bare or len(closed) == len(bare):
            return None
        end = closed[len(bare)]
        return None if end in bare[len(_ids(tokenizer, head)) :] else end

    def shown(self, joint: str) -> str:
        """Write it with the names of prompt and answer; joint: of the task."""
        joint = joint if self.keeps_joint else ""
        return f"{self.before}{PROMPT}{joint}{self.between}{self.lead}{ANSWER}{self.after}"


BARE = Template(keeps_joint=True)


def conversation(tokenizer: Any, turns: Sequence[Turn], name: str, to_be_continued: bool = True) -> str:
    """Write turns by a tokenizer's chat template; one that takes contents as lists of parts gets them so.

    to_be_continued: up to where the assistant's turn begins. Raises UserError if the template refuses them.
    """
    in_parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    reason = "it leaves out what they say"
    for form in (list(turns), in_parts):
        try:
            text = str(
                tokenizer.apply_chat_template(
                    form,
                    tokenize=False,
                    add_generation_prompt=to_be_continued,
                    enable_thinking=False,  # where a template knows it: there is room for the answer alone
                )
            )
        except Exception as error:  # a template may raise anything
            reason = str(error)
            continue
        if all(turn["content"].strip() in text for turn in turns):
            return text
    raise UserError(f"the chat template of {name} refuses the turns ({reason})", about="chat")


def check_chat(tokenizer: Any, name: str) -> None:
    """Raise UserError if a tokenizer has no chat template."""
    if not tokenizer.chat_template:
        raise UserError(
            f"the tokenizer of {name} has no chat template; drop {typed('chat', True)}, "
            "or take a model that was trained to chat",
            about="chat",
        )


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
