"""Whether this machine can run the theatre: what is looked at, and what is to be thought of it.

What a foreign library tells is gathered in the adapters, what Python itself can tell in `machine`.
`findings` judges it, without looking at anything, and `examination` does both in time. Nothing in
here changes anything.
"""
