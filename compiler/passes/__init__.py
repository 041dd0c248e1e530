"""Passes: pure named functions from a legal function to a legal function, and `lower`, their pipeline."""

from vdla.compiler.passes.lower import PIPELINE, lower

__all__ = ["PIPELINE", "lower"]
