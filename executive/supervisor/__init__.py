"""The process tree of a node: its children as data (specs), what is to be done (plan, pure), and doing it (process)."""
