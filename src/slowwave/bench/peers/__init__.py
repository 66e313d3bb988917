"""Other systems beside slowwave, in an environment of their own: one small script a system.

`protocol` holds what is measured, the same for all, and runs in the peer's process; `environment` makes the peers'
environment; `runner` writes the inputs, starts the scripts and gathers what they found.
"""
