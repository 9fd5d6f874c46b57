"""Engines, goggles and theatres that speak the public protocol, and nothing else."""
