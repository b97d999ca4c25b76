"""Chaos: a proxy between the controller and real servers lets one thing go wrong at one command."""
