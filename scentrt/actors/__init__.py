"""Who owns what: one task and one bounded mailbox for each zone."""
