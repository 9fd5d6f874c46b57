"""What the system does with the rules: one handler for each command and event."""
