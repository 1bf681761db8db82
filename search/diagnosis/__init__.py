"""What `search.doctor` looks at.

Imports every wing of search but session."""
