"""Accelerators as YAML; each opens with the question it answers."""
