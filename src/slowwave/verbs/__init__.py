"""What the verbs of Memory do, step by step: write, read, sleep, the journal, upkeep. Memory alone calls them."""
