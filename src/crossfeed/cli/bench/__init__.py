"""The load generator, the floors and the scenarios of `crossfeed bench`."""
