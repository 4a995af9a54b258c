"""The main path: plan, arms, comparisons, report; resume, signals, several processes."""
