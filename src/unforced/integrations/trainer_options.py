"""Options of a Trainer: those that an objective's loss would not heed, and how streams are read."""

from typing import Any

from unforced.data import ProblemDataset
from unforced.errors import UserError


def check_options(trainer: Any) -> None:
    """Refuse options of a Trainer that an objective's loss would not heed. Raises UserError.

    Each process then reads its own batches of an iterable data set, unless dispatch_batches says otherwise:
    accelerate would let one process read all, and join them as if their rows were equally long.
    """
    args = trainer.args
    if args.n_gpu > 1:
        raise UserError(
            "one process uses several GPUs; start one process for each, as by `accelerate launch`, or set "
            "CUDA_VISIBLE_DEVICES to one"
        )
    for name, unwanted in (
        ("FSDP", trainer.is_fsdp_enabled),
        ("DeepSpeed", trainer.is_deepspeed_enabled),
        ("torch_compile", args.torch_compile),
        ("label_smoothing_factor", args.label_smoothing_factor != 0),
        ("compute_loss_func", trainer.compute_loss_func is not None),
    ):
        if unwanted:
            raise UserError(f"{name}: an objective's loss does not go with it; leave it out")
    for name, data in (("train_dataset", trainer.train_dataset), ("eval_dataset", trainer.eval_dataset)):
        if isinstance(data, ProblemDataset) and data.shard.world_size > 1 < args.world_size:
            raise UserError(
                f"{name}: it gives each process its own problems, and the Trainer divides them again; "
                "say ProblemDataset(..., shard=Shard())"
            )
    loading = trainer.accelerator.dataloader_config
    if loading.dispatch_batches is None:
        loading.dispatch_batches = False
