"""The rules: who may do what, and in which form. One function per verb; uses only ports."""
