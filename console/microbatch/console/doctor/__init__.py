"""`microbatch doctor`: is this deployment one that keeps the guarantees?

Facts are gathered in one place (`gathering`), judged by pure functions (`checks`), told by `report`. It
looks and changes nothing.
"""
