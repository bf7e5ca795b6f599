package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/headrace/headrace/internal/auth/keyring"
	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/wire"
)

// backupStall is how long a client may take none of a backup before it is cut off: what is held for
// it takes room.
const backupStall = time.Minute

// ownCalls returns our own calls on the engines and on streams.
func ownCalls(ctx context.Context, cfg Config, e engines, identify wire.Authenticator, heat http.Handler) *controls {
	c := newControls(cfg.Dev, cfg.Origins)
	c.local("GET "+controlsPath+"streams/hot", heat)
	c.local("POST "+controlsPath+"backup", operators(cfg, identify, backups(ctx, e.backup, cfg.Logger)))
	return c
}

// operators keeps a call to whoever runs the server: the root of its own account, who signs it as AWS's
// calls are signed. A backup has every account's records, so no policy of an account can allow it. That
// the call comes from this machine is not enough: what a proxy on it hands on does, too, and so does
// every other user's process. Where all callers are believed, this one is.
func operators(cfg Config, identify wire.Authenticator, next http.Handler) http.Handler {
	if cfg.Access.AnyCredentials {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bound(w, r)
		caller, err := signed(identify, w, r)
		root := keyring.RootARN(cfg.DefaultAccount)
		switch {
		case err != nil:
			page(w, http.StatusForbidden, err.Error()+"\n")
		case caller.Principal != root:
			page(w, http.StatusForbidden, "this call is for "+root+" alone\n")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// backups sends a backup to whoever asks, one at a time. It is taken of source, nil where nothing is
// kept on disk, and ends early when ctx does.
func backups(ctx context.Context, source *backup.Source, logger *slog.Logger) http.Handler {
	var busy atomic.Bool
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bound(w, r)
		switch {
		case source == nil:
			page(w, http.StatusConflict, "this server keeps everything in memory: there is nothing to back up\n")
			return
		case !busy.CompareAndSwap(false, true):
			page(w, http.StatusConflict, "another backup is being taken\n")
			return
		}
		defer busy.Store(false)
		request, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)() // a server that stops does not wait for it
		sent, err := sendBackup(request, w, r, *source)
		if err != nil {
			logger.Error("a backup was not finished", "error", err)
			panic(http.ErrAbortHandler) // whoever reads must not take the end for the end
		}
		if sent > 0 {
			logger.Info("a backup was taken", "size", mib(sent))
		}
	})
}

// sendBackup answers with a backup, whose size it returns, or with why there is none. An error means
// that the answer had begun.
func sendBackup(ctx context.Context, w http.ResponseWriter, r *http.Request, source backup.Source) (int64, error) {
	control := http.NewResponseController(w)
	// The deadlines of bound are for a page; the request's body nobody waits for.
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
	b, err := backup.Begin(ctx, source)
	switch {
	case errors.Is(err, objectstore.ErrFull):
		page(w, http.StatusInsufficientStorage, "there is no room on the server's disk: "+err.Error()+"\n")
		return 0, nil
	case err != nil:
		page(w, http.StatusInternalServerError, err.Error()+"\n")
		return 0, nil
	}
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Headrace-Backup-Bytes", strconv.FormatInt(b.Bytes(), 10))
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // its deadlines are ours
	}
	w.WriteHeader(http.StatusOK)
	to := steady{w, control}
	if err = to.allow(); err == nil {
		err = control.Flush()
	}
	if err == nil {
		err = b.Write(ctx, to)
	}
	return b.Bytes(), errors.Join(err, b.Close())
}

// steady writes an answer as long as the client takes some of it.
type steady struct {
	w       http.ResponseWriter
	control *http.ResponseController
}

func (s steady) allow() error {
	err := s.control.SetWriteDeadline(clock.System{}.Now().Add(backupStall)) // sockets follow the machine's clock
	if errors.Is(err, http.ErrNotSupported) {
		return nil // a transport without deadlines has none to set
	}
	return err
}

// Write implements io.Writer.
func (s steady) Write(p []byte) (int, error) {
	if err := s.allow(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}
