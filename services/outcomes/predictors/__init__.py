"""What was known at baseline and goes with an outcome: the table `predictors` (R7.1, R7.2)."""
