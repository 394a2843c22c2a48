"""What is written of a program for other tools and for people: layers, dissectors, pages."""
