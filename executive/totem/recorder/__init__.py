"""The flight recorder: the core's inputs, kept in a bounded recording, and what can be learnt from it afterwards.

tape        a recording while it grows           checkpoint   the core's state as bytes, and back
blanks      packets without users' bytes         format       the file: header, segments, records; strict
digest      what an input led to, in 32 bits     ring         the core, with every input recorded
recorder    the recording of a process, dumps    replay       the same inputs again, compared; story: in words
"""
