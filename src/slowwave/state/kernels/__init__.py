"""Arithmetic that several memories share, each written once: a plain reference, and the fast form that equals it."""
