package server

func serveUntilKilled(string) {}
