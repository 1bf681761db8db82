"""Reads studies and says what they show."""
