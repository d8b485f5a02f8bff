"""`totemctl`: one small module per command; `asking` talks to the executive, `showing` to people and programs."""
