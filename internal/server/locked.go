package server

import (
	"fmt"
	"log/slog"

	"github.com/headrace/headrace/internal/stream"
)

// logLocked says which streams have data keys that do not open. They answer with errors of the Key
// Management Service; all others are served.
func logLocked(logger *slog.Logger, streams *stream.Streams) {
	for _, l := range streams.Locked() {
		logger.Error("a data key of an encrypted stream does not open: its records cannot be read or written",
			"account", l.Scope.Account, "region", l.Scope.Region, "stream", l.Name, "error", l.Err)
	}
}

// lockedNote says in a line that there are such streams, for those who ask whether the server is ready.
func lockedNote(streams *stream.Streams) string {
	if n := len(streams.Locked()); n > 0 {
		return fmt.Sprintf("data keys do not open: records of encrypted streams cannot be read or written, streams: %d\n", n)
	}
	return ""
}
