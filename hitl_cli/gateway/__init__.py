"""The gateway: the same requests and answers as on the command line, over HTTP, for people and programs."""
