"""Contracts between the packages: Store, Intake, Queue, Run and Engine."""
