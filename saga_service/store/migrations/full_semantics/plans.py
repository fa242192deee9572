"""Settings for functions whose plans are fixed by hand, as in the first schema and for the same reason: a plan that was
made while the tables were empty would be kept, and scan them when they are full."""

FIXED_PLANS = """
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_bitmapscan = off
set enable_hashjoin = off
set enable_mergejoin = off
"""
