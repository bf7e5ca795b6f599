package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/headrace/headrace/internal/backup"
	"github.com/headrace/headrace/internal/clock"
	"github.com/headrace/headrace/internal/objectstore"
	"github.com/headrace/headrace/internal/objectstore/held"
	"github.com/headrace/headrace/internal/objectstore/mem"
	"github.com/headrace/headrace/internal/shardlog"
)

// order sends one of our own calls.
func (r *running) order(c *http.Client, method, path string, header ...string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// TestBackupCall checks who gets a backup, and how.
func TestBackupCall(t *testing.T) {
	f := func(r *running, method, path string, want int, says string, header ...string) {
		t.Helper()
		resp := r.order(client(t, "HTTP/1.1"), method, path, header...)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want || !strings.Contains(string(body), says) {
			t.Errorf("%s %s: %d %q, %v; want %d %q", method, path, resp.StatusCode, body, err, want, says)
		}
	}
	r := start(t, nil)
	f(r, "POST", "/_headrace/backup", 409, "in memory")
	f(r, "GET", "/_headrace/backup", 405, "")
	r = start(t, onDisk(filepath.Join(t.TempDir(), "data")))
	f(r, "POST", "/_headrace/backup", 403, "page that calls", "Origin", "http://evil.example")
	f(r, "POST", "/_headrace/backup", 200, "headrace backup 1")
}

// TestBackupIsTheOperators asks a server that verifies signatures: it gives a backup to the root of its
// own account and to nobody else. (This one has nothing on disk.)
func TestBackupIsTheOperators(t *testing.T) {
	g := guard(t)
	f := func(want int, says string, keys aws.Credentials, service string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", g.url+"/_headrace/backup", nil)
		g.ok(err)
		if service != "" {
			nothing := sha256.Sum256(nil)
			g.ok(v4.NewSigner().SignHTTP(t.Context(), keys, req, hex.EncodeToString(nothing[:]), service, "eu-west-1", time.Now()))
		}
		resp, err := http.DefaultClient.Do(req)
		g.ok(err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		g.ok(err)
		if resp.StatusCode != want || !strings.Contains(string(body), says) {
			t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, want, says)
		}
	}
	everything := `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}`
	f(409, "in memory", g.root, "headrace")
	f(403, "Missing Authentication Token", g.root, "")
	f(403, "", g.root, "kinesis")
	f(403, "for arn:aws:iam::"+home+":root alone", g.user(home, "almighty", everything), "headrace")
	f(403, "for arn:aws:iam::"+home+":root alone", g.user(other, "almighty", everything), "headrace")
	f(403, "does not match", aws.Credentials{AccessKeyID: g.root.AccessKeyID, SecretAccessKey: "guessed"}, "headrace")
	f(403, "", aws.Credentials{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretAccessKey: "guessed"}, "headrace")
}

// TestBackupAndRestore takes a backup of a server by either protocol, loses what came after it, and
// starts another on what is restored: a reader whose checkpoint is of the lost time goes on with the
// next record.
func TestBackupAndRestore(t *testing.T) {
	f := func(protocol string) {
		t.Helper()
		dir := t.TempDir()
		r := start(t, onDisk(filepath.Join(dir, "data")))
		c := client(t, protocol)
		r.call(c, "CreateStream", `{"StreamName":"clicks","ShardCount":1}`)
		const put = `{"StreamName":"clicks","PartitionKey":"k","Data":"`
		r.call(c, "PutRecord", put+`a2VwdA=="}`)
		resp := r.order(c, "POST", "/_headrace/backup")
		saved := filepath.Join(dir, "b.tar")
		summary, err := backup.SaveFile(t.Context(), saved, resp.Body)
		if err != nil || summary.Objects < 2 || resp.Header.Get("Content-Type") != "application/x-tar" {
			t.Fatalf("SaveFile() = %+v, %v", summary, err)
		}
		_, body := r.call(c, "PutRecord", put+`bG9zdA=="}`)
		lost := field(t, body, "SequenceNumber")
		r.stop()
		if err := <-r.done; err != nil {
			t.Fatal(err)
		}
		r.done <- nil

		from, err := os.Open(saved)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		data := filepath.Join(dir, "restored")
		if _, err := backup.RestoreDirectory(t.Context(), data, from, nil, clock.System{}); err != nil {
			t.Fatal(err)
		}
		if err := copyFile(filepath.Join(dir, "data", nodeKeyFile), filepath.Join(data, nodeKeyFile)); err != nil { // no backup has it
			t.Fatal(err)
		}
		r = start(t, onDisk(data))
		iterator := func(kind string) string {
			t.Helper()
			_, body := r.call(c, "GetShardIterator", `{"StreamName":"clicks","ShardId":"shardId-000000000000",`+kind+`}`)
			return field(t, body, "ShardIterator")
		}
		want := func(iterator string, behind bool, data ...string) {
			t.Helper()
			_, body := r.call(c, "GetRecords", `{"ShardIterator":"`+iterator+`"}`)
			if strings.Count(body, `"Data"`) != len(data) || strings.Contains(body, `"MillisBehindLatest":0`) == behind {
				t.Errorf("got %s, want %q", body, data)
			}
			for _, d := range data {
				if !strings.Contains(body, d) {
					t.Errorf("got %s, want %s in it", body, d)
				}
			}
		}
		after, at := `"ShardIteratorType":"AFTER_SEQUENCE_NUMBER","StartingSequenceNumber":"`+lost+`"`,
			`"ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"`+lost+`"`
		checkpoint, latest := iterator(after), iterator(`"ShardIteratorType":"LATEST"`)
		want(checkpoint, false)
		want(iterator(`"ShardIteratorType":"TRIM_HORIZON"`), false, "a2VwdA==")
		_, body = r.call(c, "PutRecord", put+`bmV3"}`)
		if next := field(t, body, "SequenceNumber"); next <= lost {
			t.Errorf("the next record is %s; want more than %s", next, lost)
		}
		want(checkpoint, false, "bmV3")
		want(latest, false, "bmV3")
		want(iterator(at), false, "bmV3")
		want(iterator(`"ShardIteratorType":"TRIM_HORIZON"`), false, "a2VwdA==", "bmV3")
	}
	f("HTTP/1.1")
	f("HTTP/2.0")
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// still is a log and rows whose backup is one object.
type still struct{ err error }

func (s still) Cut(context.Context) (shardlog.Cut, error) {
	return shardlog.Cut{Objects: []objectstore.Info{{Key: "large", Size: 4 << 20}}}, s.err
}

func (s still) Hold(context.Context) (objectstore.Info, func(), error) {
	return objectstore.Info{}, func() {}, nil
}

func stillSource(t *testing.T, err error) *backup.Source {
	t.Helper()
	bucket := held.New(mem.New(clock.System{}, 0))
	if _, err := bucket.Put(t.Context(), "large", bytes.NewReader(make([]byte, 4<<20))); err != nil {
		t.Fatal(err)
	}
	return &backup.Source{Log: still{err}, Rows: still{}, Blocks: bucket, State: bucket, Clock: clock.System{}}
}

// held says whether an object cannot be deleted.
func isHeld(src *backup.Source) bool {
	return errors.Is(src.Blocks.Delete(context.Background(), "large"), held.ErrHeld)
}

// TestUnreadBackup has a client that reads nothing: others are refused meanwhile, it is cut off after
// a minute, and nothing stays held.
func TestUnreadBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := stillSource(t, nil)
		h := backups(t.Context(), src, slog.New(slog.DiscardHandler))
		ask := func() (*bufio.Reader, *http.Response) {
			conn := dialPort(t, h)
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")
			answer := bufio.NewReader(conn)
			resp, err := http.ReadResponse(answer, nil)
			if err != nil {
				t.Fatal(err)
			}
			return answer, resp
		}
		_, first := ask()
		if first.StatusCode != 200 || first.Header.Get("Headrace-Backup-Bytes") != "4194304" {
			t.Fatalf("got %d, %v", first.StatusCode, first.Header)
		}
		synctest.Wait()
		if !isHeld(src) {
			t.Error("nothing is held during a backup")
		}
		if _, second := ask(); second.StatusCode != 409 {
			t.Errorf("a second backup: got %d, want 409", second.StatusCode)
		}
		time.Sleep(backupStall + time.Second)
		synctest.Wait()
		if _, err := io.Copy(io.Discard, first.Body); err == nil {
			t.Error("a backup that was not read ends as if it were whole")
		}
		_, third := ask()
		if b, err := io.ReadAll(third.Body); err != nil || len(b) < 4<<20 {
			t.Errorf("the next backup has %d bytes, %v", len(b), err)
		}
		synctest.Wait()
		if isHeld(src) {
			t.Error("something is held after the backups")
		}
	})
}

// TestStoppedBackup stops the server during a backup.
func TestStoppedBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		src := stillSource(t, nil)
		conn := dialPort(t, backups(ctx, src, slog.New(slog.DiscardHandler)))
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if _, err := backup.Read(t.Context(), resp.Body, func(backup.Entry, io.Reader) error { return nil }); !errors.Is(err, backup.ErrNotWhole) {
			t.Errorf("a backup of a server that stops: %v", err)
		}
		synctest.Wait()
		if isHeld(src) {
			t.Error("something is held after it")
		}
	})
}

// TestBackupThatCannotBegin answers with the reason.
func TestBackupThatCannotBegin(t *testing.T) {
	f := func(err error, want int) {
		t.Helper()
		src := stillSource(t, err)
		w := httptest.NewRecorder()
		backups(t.Context(), src, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
		if w.Code != want || !strings.Contains(w.Body.String(), err.Error()) {
			t.Errorf("got %d %q, want %d with %v", w.Code, w.Body, want, err)
		}
		if isHeld(src) {
			t.Error("something is held after it")
		}
	}
	f(errors.New("broken"), 500)
	f(objectstore.ErrFull, 507)
}
