"""Weights of loss terms that may change with the progress of training."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from unforced.parts import Config, read_within


class Schedule(Config):
    """A weight that changes linearly from one value to another, and is constant before and after.

    Progress is the share of the run's steps that are done, in [0, 1).
    """

    first: float = Field(ge=0, description="the weight until `begin`")
    last: float = Field(ge=0, description="the weight from `end` on")
    begin: float = Field(0.0, ge=0, lt=1, description="progress at which the change begins")
    end: float = Field(1.0, gt=0, le=1, description="progress at which the change ends")

    @model_validator(mode="after")
    def _check(self) -> "Schedule":
        if self.end <= self.begin:
            raise ValueError(
                f"end: {self.end:g} is not above begin {self.begin:g}; give a later one, up to 1"
            )
        return self

    def at(self, progress: float) -> float:
        """Return the weight at a progress."""
        share = min(1.0, max(0.0, (progress - self.begin) / (self.end - self.begin)))
        return self.first + share * (self.last - self.first)


class _NumberOrSchedule:
    """Reads a weight, so that a mistake is named once, and not for each of the kinds."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = core_schema.float_schema(ge=0, allow_inf_nan=False, strict=True)
        either = core_schema.union_schema(
            [number, handler.generate_schema(Schedule)],
            custom_error_type="weight",
            custom_error_message="input should be a number of at least 0, or a schedule with first and last",
        )
        return core_schema.with_info_before_validator_function(_read_schedule, either)


def _read_schedule(value: Any, info: Any) -> Any:
    return read_within(Schedule, dict(value), info) if isinstance(value, Mapping) else value


Weight = Annotated[float | Schedule, _NumberOrSchedule()]
"""A constant weight, 0 or more, or one that changes."""


def weight_at(weight: Weight, progress: float) -> float:
    """Return a weight at a progress."""
    return weight.at(progress) if isinstance(weight, Schedule) else weight


def is_ever_positive(weight: Weight) -> bool:
    """Whether a weight is above 0 at any progress."""
    return weight.first > 0 or weight.last > 0 if isinstance(weight, Schedule) else weight > 0
