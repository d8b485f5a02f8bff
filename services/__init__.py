"""Services on the ring's ordered stream."""
