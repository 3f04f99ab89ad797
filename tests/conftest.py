"""Hypothesis's profiles, for all tests: HYPOTHESIS_PROFILE=nightly looks further, at other examples each time."""

import os

from hypothesis import HealthCheck, settings

# The examples of ci are always the same: a database of those that failed would only leave files behind.
settings.register_profile("ci", max_examples=25, deadline=None, derandomize=True, database=None)
settings.register_profile("nightly", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
