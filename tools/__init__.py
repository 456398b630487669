"""Scripts that install the packages and run the notebook; the program does not use them."""
