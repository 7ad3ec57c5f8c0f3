"""The commands `dart-eval` and `hyenadna`: each module parses one command's options, calls the library and prints."""
