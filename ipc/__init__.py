"""The vocabulary two processes share: identifiers, errors, messages, and how they travel over ZeroMQ."""
