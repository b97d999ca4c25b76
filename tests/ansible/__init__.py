"""The collection baton.redis, run by the real ansible-playbook."""
