package main

import (
	"log/slog"
)

// quiet logs nothing: what is measured is not to wait for a terminal.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
