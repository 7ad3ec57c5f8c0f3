"""How a model is trained for a task: recipes, the order of rows, the loop, and its states."""
