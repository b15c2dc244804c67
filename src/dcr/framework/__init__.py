"""Kedro's side: commands, configuration, hooks, sessions, and dvc.yaml."""
