"""Replicated state machines over a closed process group."""
