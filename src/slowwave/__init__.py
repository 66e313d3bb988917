"""slowwave: a memory engine for AI."""
