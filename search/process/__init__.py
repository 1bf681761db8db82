"""What every process of ours needs: arguments, signals, environment, scratch folders, text.

Imports nothing else of search; any wing may import it."""
