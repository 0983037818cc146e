"""Small models, for tests that every registered model must pass."""

from unforced.models.base import ModelConfig
from unforced.registry import MODELS

_SIZES = {"layers": 2, "width": 16}


def small_config(name: str) -> ModelConfig:
    """Return the default config of a model by name, with 2 layers of width 16 where it has such fields."""
    kind: type[ModelConfig] = MODELS.get(name)
    sizes = {key: size for key, size in _SIZES.items() if key in kind.model_fields}
    return kind.model_validate({"name": name, **sizes})
