"""Scripts for Vivado and a Pynq board. Not run here: there is no Vivado and no board."""
