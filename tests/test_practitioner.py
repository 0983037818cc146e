"""The practitioner's example at a tiny size: data, two models, two diagnoses, a page that compares them."""

import importlib
import json
import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.documents import ROOT, blocks

PAGE = ROOT / "docs" / "practitioner.md"
SMALLER = {
    "data": ["--train", "200", "--held-out", "100"],
    "tune": ["--steps", "3", "--layers", "1", "--width", "16"],
    "diagnose": ["--confidence", "0.55"],
}


def test_the_commands_of_the_page_lead_to_a_comparison(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    told = ""
    for program, *arguments in (command for block in blocks(PAGE) for command in block.commands):
        if program == "python":
            module = arguments[1]
            monkeypatch.setattr(sys, "argv", [*arguments[1:], *SMALLER[module.rpartition(".")[2]]])
            importlib.import_module(module).main()
        else:
            code, told, errors = call(*arguments, *SMALLER.get(arguments[0], ()))
            assert code == 0, errors
    assert told.splitlines()[-1] == "side by side: compared/index.html"
    page = (tmp_path / "compared" / "index.html").read_text()
    for name in ("next_token", "mixture"):
        title = json.loads((tmp_path / f"{name}.json").read_text())["verdict"]["title"]
        assert f"<strong>{name}</strong>" in page
        assert f"<strong>{title}</strong>" in page
    rows = [json.loads(line) for line in (tmp_path / "stations.jsonl").read_text().splitlines()]
    assert len({row["prompt"] for row in rows}) == len(rows) == 310
    model, tokenizer = (
        each.from_pretrained("tuned/mixture") for each in (AutoModelForCausalLM, AutoTokenizer)
    )
    assert model.config.vocab_size == len(tokenizer)
