"""Proofs about the small modules that everything rests on, by SymbiYosys."""
