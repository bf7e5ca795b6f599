package main

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
)

// serveCeiling runs the bare server: net/http, the body read into a reused buffer and, with
// -hash, its SHA-256 taken as a signature check would; with -wal, as many bytes as the body's records
// have are durable before it answers; with -files, a GET is answered with a file, with -events with frames. It prints its
// address and serves until it is killed.
func serveCeiling(args []string) error {
	flags := flag.NewFlagSet("ceiling", flag.ContinueOnError)
	hash := flags.Bool("hash", false, "hash every body")
	dir := flags.String("wal", "", "directory to make as many bytes as the records have durable in")
	payload := flags.Int("payload", 0, "bytes of records in a body")
	files := flags.String("files", "", "directory to answer GETs from")
	events := flags.Bool("events", false, "answer GETs with as many frames of a size as their URL says")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var durable *wal
	var hashed atomic.Uint32
	if *dir != "" {
		if durable, err = openWAL(*dir); err != nil {
			return err
		}
	}
	buffers := sync.Pool{New: func() any { return new([]byte) }}
	fmt.Println(listener.Addr())
	if *events {
		return serveFrames(listener)
	}
	answer := []byte(`{"FailedRecordCount":0,"SequenceNumber":""}`)
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if *files != "" {
			sendFile(w, filepath.Join(*files, filepath.FromSlash(path.Clean(r.URL.Path))))
			return
		}
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		if int64(cap(*buf)) < r.ContentLength {
			*buf = make([]byte, r.ContentLength)
		}
		*buf = (*buf)[:r.ContentLength]
		if _, err := io.ReadFull(r.Body, *buf); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if *hash {
			sum := sha256.Sum256(*buf)
			hashed.Store(uint32(sum[0])) // or there would be no need to take it
		}
		if durable != nil {
			if err := durable.append((*buf)[:*payload]); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		_, _ = w.Write(answer)
	}))
}

// serveFrames sends frames, each at once: the least that a server of event streams does.
func serveFrames(l net.Listener) error {
	var frame sync.Map // of []byte by size
	srv := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, err := strconv.Atoi(r.FormValue("size"))
		frames, err2 := strconv.Atoi(r.FormValue("frames"))
		if err := errors.Join(err, err2); err != nil || size < 16 {
			http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
			return
		}
		made, _ := frame.LoadOrStore(size, binary.BigEndian.AppendUint32(make([]byte, 0, size), uint32(size))[:size])
		w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
		flush := http.NewResponseController(w)
		for range frames {
			if _, err := w.Write(made.([]byte)); err != nil {
				return
			}
			_ = flush.Flush() // an error is the client's to notice
		}
	})}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	return srv.Serve(l)
}

// sendFile is the least that gets a file's bytes to a client: the kernel sends them.
func sendFile(w http.ResponseWriter, name string) {
	f, err := os.Open(name)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	_, _ = io.Copy(w, f) // an error is the client's to notice
}
