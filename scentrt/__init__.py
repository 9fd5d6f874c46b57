"""ScentRT, the software of the Scents Company: scents on cue, from the stock room to the seat."""

__version__ = "0.1.0"
