"""Every parameter of a model and of its adaptation, counted and explained."""
