"""Redeploys beside the engines' own commands; `script/bench --engines` runs it."""
