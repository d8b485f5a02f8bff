"""What every process of a node needs: its life as a child, log lines, numbers, permissions, the service manager."""
