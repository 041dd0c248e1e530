"""The graph's operators as tensor expressions, for any target: what each computes, without saying in which order."""
