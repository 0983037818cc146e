"""Learning rates against tables worked out by hand, and which weights decay."""

import re

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.pretrained import saved
from tests.runs import tiny_run, train
from unforced.models.pretrained import Pretrained
from unforced.models.roles import role
from unforced.recipes.paper import paper_code
from unforced.registry import MODELS
from unforced.training.adamw import AdamW
from unforced.training.muon import BatchedMuon, orthogonalised
from unforced.training.optimizer import build_optimizer, learning_rate
from unforced.training.train_module import build_train_module

# A cosine from 8 to 0 over four steps: 8 (1 + cos(k pi / 4)) / 2.
COSINE = [8, 6.828427, 4, 1.171573]


def rates(*overrides, steps=8):
    run = tiny_run("learning_rate=8", *overrides)
    return [learning_rate(run, step) for step in range(steps)]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], [8] * 8),
        (["warmup_steps=1"], [8] * 8),
        (["warmup_steps=4"], [2, 4, 6, 8, 8, 8, 8, 8]),
        (["warmup_steps=4", "warmup_from_zero=true"], [0, 2, 4, 6, 8, 8, 8, 8]),
        (["warmup_steps=16"], [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4]),
        (["schedule=cosine", "max_steps=4"], [*COSINE, 0, 0, 0, 0]),
        (["schedule=cosine", "max_steps=6", "warmup_steps=2"], [4, 8, *COSINE, 0, 0]),
        (
            ["schedule=cosine", "max_steps=6", "warmup_steps=2", "warmup_from_zero=true"],
            [0, 4, *COSINE, 0, 0],
        ),
        (["schedule=cosine", "max_steps=20", "schedule_steps=4"], [*COSINE, 0, 0, 0, 0]),
        (["schedule=cosine", "max_steps=1000000000"], [8] * 8),
        (["schedule=constant", "schedule_steps=4", "min_learning_rate=2"], [8] * 8),
        (
            ["schedule=cosine", "max_steps=4", "min_learning_rate=2"],
            [8, 7.121320, 5, 2.878680, 2, 2, 2, 2],
        ),
        (["schedule=cosine", "max_steps=3", "warmup_steps=8"], [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "",
)
def test_the_learning_rate_of_each_step(overrides, expected):
    assert rates(*overrides) == pytest.approx(expected, abs=1e-5)


def test_a_cosine_spans_the_epochs_of_a_run_that_counts_epochs():
    by_epochs = rates("schedule=cosine", "max_steps=null", "epochs=2", "num_train=64", "batch_size=32")
    assert by_epochs == pytest.approx([*COSINE, 0, 0, 0, 0], abs=1e-5)


def test_the_papers_code_hardly_moves_its_rate_after_warm_up():
    run = paper_code()
    assert learning_rate(run, 0) == 0
    assert learning_rate(run, 50) == pytest.approx(5e-5)
    assert learning_rate(run, 100) == pytest.approx(1e-4)
    assert learning_rate(run, run.num_steps - 1) == pytest.approx(1e-4, rel=1e-4)


class Pieces(nn.Module):
    """Weights of each kind, all 1, whose gradients are 0: a step of AdamW can only decay them."""

    def __init__(self, *kinds):
        super().__init__()
        for kind, shape in {"matrix": (2, 3), "stack": (2, 2, 2), "vector": (3,), "scalar": ()}.items():
            if kind in kinds:
                weight = nn.Parameter(torch.ones(shape))
                weight.grad = torch.zeros(shape)
                self.register_parameter(kind, weight)


@pytest.mark.parametrize(
    ("kinds", "decayed"),
    [
        (["matrix", "stack", "vector", "scalar"], {"matrix", "stack"}),
        (["matrix"], {"matrix"}),
        (["vector"], set()),
    ],
)
def test_only_matrices_decay(kinds, decayed):
    pieces = Pieces(*kinds)
    build_optimizer(tiny_run("learning_rate=0.1", "weight_decay=0.5"), pieces).step()
    for name, weight in pieces.named_parameters():
        expected = 0.95 if name in decayed else 1.0
        assert weight.detach().unique().tolist() == pytest.approx([expected]), name


def test_without_weight_decay_nothing_decays():
    pieces = Pieces("matrix", "vector")
    build_optimizer(tiny_run("learning_rate=0.1", "weight_decay=0"), pieces).step()
    assert all((weight == 1).all() for weight in pieces.parameters())


@pytest.mark.parametrize("tied", ["true", "false"])
def test_every_weight_of_a_model_is_optimised_once(tied):
    run = tiny_run(f"model.tie_embeddings={tied}", "betas=[0.8,0.9]", "weight_decay=0.3")
    train_module = build_train_module(run)
    optimizer = build_optimizer(run, train_module)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(decay)
    assert decay == {id(p): 0.3 if p.dim() > 1 else 0.0 for p in train_module.parameters()}
    assert all(group["betas"] == (0.8, 0.9) for group in optimizer.param_groups)


def test_the_first_step_moves_each_weight_by_the_learning_rate():
    pieces = Pieces("matrix")
    pieces.matrix.grad = torch.tensor([[1.0, -2.0, 30.0], [-1e-3, 5.0, -7.0]])
    build_optimizer(tiny_run("learning_rate=0.1", "weight_decay=0"), pieces).step()
    moved = pieces.matrix.detach() - 1
    assert torch.allclose(moved, -0.1 * pieces.matrix.grad.sign(), atol=1e-5)


@pytest.mark.parametrize("tied", ["true", "false"])
def test_muon_takes_the_matrices_inside_the_blocks_alone(tied):
    run = tiny_run(f"model.tie_embeddings={tied}", "optimizer=muon", "muon_factor=3", "weight_decay=0.3")
    train_module = build_train_module(run)
    inner, outer = build_optimizer(run, train_module).parts
    taken = {id(p) for group in inner.param_groups for p in group["params"]}
    matrices = {id(p) for p in train_module.model.blocks.parameters() if p.dim() == 2}
    assert taken == matrices
    rest = [id(p) for group in outer.param_groups for p in group["params"]]
    assert sorted(rest) == sorted({id(p) for p in train_module.parameters()} - matrices)
    assert [group["rate_factor"] for group in inner.param_groups] == [3]
    assert {group["rate_factor"] for group in outer.param_groups} == {1}


IN_BLOCKS = {
    "gpt": r"blocks\.\d\.(attention\.projection|attention\.output|up|down)\.weight",
    "mamba": r"backbone\.layers\.\d\.mixer\.(in_proj|x_proj|dt_proj|out_proj)\.weight",
    "pretrained gpt2": r"network\.transformer\.h\.\d\.(attn|mlp)\.(c_attn|c_proj|c_fc)\.weight",
    "pretrained gpt_neox": r"network\.gpt_neox\.layers\.\d\.\w+\.(query_key_value|dense\w*)\.weight",
    "pretrained llama": r"network\.model\.layers\.\d\.(self_attn|mlp)\.\w+_proj\.weight",
    "pretrained mamba": r"backbone\.layers\.\d\.mixer\.(in_proj|x_proj|dt_proj|out_proj)\.weight",
}
IN_ADAPTERS = r"network\.transformer\.h\.\d\.(attn|mlp)\.(c_attn|c_proj|c_fc)\.lora_[AB]\.default\.weight"


def matrices(model):
    return [name for name, parameter in model.named_parameters() if role(parameter) == "matrix"]


@pytest.mark.parametrize("kind", IN_BLOCKS)
def test_matrices_are_the_linear_maps_inside_the_blocks(kind):
    name, _, family = kind.partition(" ")
    options = {"encoding": "symbol", "name_or_path": saved(family)} if family else {"layers": 2, "width": 16}
    config = MODELS.get(name)(**options)
    for model in (config.build(20, 8), config.build_empty(20, 8)):
        expected = [name for name, _ in model.named_parameters() if re.fullmatch(IN_BLOCKS[kind], name)]
        assert matrices(model) == expected != []


def test_adapters_are_matrices_and_tables_with_new_rows_do_not_decay():
    config = Pretrained(encoding="symbol", name_or_path=saved("gpt2"), lora_rank=2)
    model = config.build(20, 8)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    adapters = [name for name in trained if re.fullmatch(IN_ADAPTERS, name)]
    assert [name for name in trained if role(trained[name]) == "matrix"] == adapters != []
    assert {role(trained[name]) for name in trained if name not in adapters} == {"vector"}


def test_of_heads_the_blocks_are_matrices_and_the_unembeddings_are_not():
    trunk = tiny_run().model.build(20, 8).trunk()
    heads = nn.ModuleList([nn.Sequential(trunk.block(), nn.Linear(trunk.width, 20))])
    assert {name.split(".")[1] for name in matrices(heads)} == {"0"}
    assert len(matrices(heads)) == 4
    run = tiny_run("optimizer=muon")
    inner, _ = build_optimizer(run, heads).parts
    taken = {id(p) for group in inner.param_groups for p in group["params"]}
    assert taken == {id(p) for name, p in heads.named_parameters() if name in matrices(heads)}


def test_a_step_of_muon_is_an_orthogonal_matrix_of_the_size_of_adamws():
    """Nearly: its singular values are near one another, and its root mean square is 0.2 times the rate."""
    run = tiny_run("optimizer=muon", "weight_decay=0", "learning_rate=0.1")
    train_module = build_train_module(run)
    weight = train_module.model.blocks[0].up.weight
    before = weight.detach().clone()
    generator = torch.Generator().manual_seed(0)
    for parameter in train_module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator) ** 3
    build_optimizer(run, train_module).step()
    moved = before - weight.detach()
    singular = torch.linalg.svdvals(moved)
    assert singular.max() / singular.min() < 2.5
    assert moved.square().mean().sqrt().item() == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("skipped", [None, 1])
def test_adamw_equals_torchs_to_the_bit(skipped):
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in ((8, 24), (8,), ())]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    settings = {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1, "eps": 1e-8}
    mine, other = AdamW([{"params": ours}], **settings), torch.optim.AdamW(theirs, **settings, fused=True)
    for step in range(4):
        for one, same in zip(
            ours[step % 2 :], theirs[step % 2 :], strict=True
        ):  # the first has none at times
            one.grad = torch.randn_like(one)
            same.grad = one.grad.clone()
        mine.found_inf = other.found_inf = torch.tensor(float(step == skipped))
        for optimizer in (mine, other):
            optimizer.step()
            optimizer.zero_grad()
    for one, same in zip(ours, theirs, strict=True):
        assert torch.equal(one, same)
        for name, moment in mine.state[one].items():
            assert torch.equal(moment, other.state[same][name]), name


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_muon_on_matrices_together_equals_torchs_on_each(weight_decay):
    torch.manual_seed(0)
    shapes = [(24, 8), (8, 24), (8, 8), (24, 8), (8, 24)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(matrix.detach().clone()) for matrix in ours]
    settings = {"lr": 0.02, "weight_decay": weight_decay}
    optimizers = (
        BatchedMuon(ours, **settings, dtype=torch.bfloat16),
        torch.optim.Muon(theirs, **settings, adjust_lr_fn="match_rms_adamw"),
    )
    before = [matrix.detach().clone() for matrix in ours]
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other, start in zip(ours, theirs, before, strict=True):
        moved = (other - start).norm()
        assert (mine - other).norm() < 0.02 * moved  # bf16 rounds the two differently


@pytest.mark.parametrize(
    ("dtype", "rounding"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)], ids=["fp32", "bf16"]
)
def test_muon_takes_each_singular_value_through_its_polynomial(dtype, rounding):
    torch.manual_seed(0)
    matrices = torch.randn(3, 32, 16)
    left, values, right = torch.linalg.svd(matrices.double(), full_matrices=False)
    values = values / values.norm(dim=1, keepdim=True)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    assert 0.6 < values.min() < values.max() < 1.3
    result = orthogonalised(matrices, dtype)
    assert result.dtype == dtype
    assert (result - left @ values.diag_embed() @ right).abs().max() < rounding


class Dtypes(TorchDispatchMode):
    """Remembers the dtypes of all that operations return."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        self.seen |= {each.dtype for each in tree_leaves(result) if isinstance(each, torch.Tensor)}
        return result


@pytest.mark.parametrize("model", ["gpt", "mamba"])
@pytest.mark.parametrize(("precision", "expected"), [("fp32", False), ("bf16-mixed", True)])
def test_a_run_in_fp32_rounds_nothing_to_bf16(tmp_path, model, precision, expected):
    shape = ["model.heads=2"] if model == "gpt" else []
    settings = [f"precision={precision}", "optimizer=muon", "max_steps=1", f"model={model}", *shape]
    with Dtypes() as dtypes:
        train(tiny_run(*settings, "model.layers=2", "model.width=16"), tmp_path / "run")
    assert (torch.bfloat16 in dtypes.seen) == expected
