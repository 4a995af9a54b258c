"""How an arm of each kind is carried out: baseline, prompt, tuned, system.

In: what all arms share, one arm, one model, one seed. Out: events and an Outcome.
Knows nothing of: other arms, the report.
"""
