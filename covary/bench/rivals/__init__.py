"""Other people's ways to make views and to take a step, set to the same recipe."""
