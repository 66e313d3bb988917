"""Does a model hold a statement? Statements with foils, and how likely a model finds each: instruments calibrate it
(`probes`), and a night that trains is accepted by it (`promote`), so it stands below both.
"""
