"""Each foreign library in one room, behind a protocol that the user of it declares."""
