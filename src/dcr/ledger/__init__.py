"""Published numbers beside what is measured here, and what may be said of each.

`dcr.ledger.claims` takes them from published tables, `dcr.ledger.verdicts` has the rule,
`dcr.ledger.judging` applies it to what was measured, `dcr.ledger.page` shows it.
"""
