"""The rules, pure: no I/O, no trio, and no clock. Time comes in as an argument."""
