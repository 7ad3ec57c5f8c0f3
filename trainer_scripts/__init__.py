"""The commands `dart-eval` and `hyenadna`, and modules to run: `python -m trainer_scripts.pretrain`."""
