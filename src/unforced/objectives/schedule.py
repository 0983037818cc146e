"""Weights of loss terms that may change with the progress of training."""

from typing import Annotated

from pydantic import Field, model_validator

from unforced.parts import Config


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


Weight = Annotated[float, Field(ge=0)] | Schedule
"""A constant weight, or one that changes."""


def weight_at(weight: Weight, progress: float) -> float:
    """Return a weight at a progress."""
    return weight.at(progress) if isinstance(weight, Schedule) else weight
