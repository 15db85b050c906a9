"""Studies of rank correlation and interference: plan, trainings, statistics and reports."""
