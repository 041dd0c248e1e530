"""Random configurations."""

from __future__ import annotations

import random

from vdla.compiler.ops.configuration import Config, Space


def draw(space: Space, dice: random.Random) -> Config:
    """A valid configuration: each knob at random, again until the space has it."""
    while True:
        config = Config(tuple((knob.name, dice.choice(knob.choices)) for knob in space.knobs))
        if config in space:
            return config
