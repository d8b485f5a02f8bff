"""The messages of every socket, one frozen struct per verb.  Each module is one socket's vocabulary."""
