"""A whole house, zones and stock together, whose parts and disk fail at will, and its judge."""
