"""The benchmark of the call path; `script/bench` runs it."""
