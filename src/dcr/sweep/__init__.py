"""Many runs of one recipe that differ in signal and seed, compared on one page."""
