"""What a recipe will cost, before anything is downloaded, rented or run."""
