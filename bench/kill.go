package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// kill ends a server that has as much in its log and in no file as the log takes, and measures how long
// the next one needs until it has given out a record. It takes puts again, as the one before did not, when
// it has flushed some of that; how long that takes is printed too. Flushes are kept from happening by a file in place of
// the directory that they write to: the server tries again and again, and refuses puts once the log is
// full.
func kill(ctx context.Context, o options) error {
	dir, done, err := o.tempDir()
	if err != nil {
		return err
	}
	defer done()
	wal := "2GiB"
	if o.duration < 10*time.Second {
		wal = "256MiB"
	}
	var starts, perGiB, held, puts []float64
	for round := range o.rounds {
		data := filepath.Join(dir, strconv.Itoa(round))
		gib, err := o.fillLog(ctx, data, wal)
		if err != nil {
			return err
		}
		if os.Getenv("KEEP") != "" {
			fmt.Println(gib)
			_ = os.Rename(data, os.Getenv("KEEP"))
			return nil
		}
		took, put, err := o.restart(ctx, data, wal)
		if err != nil {
			return err
		}
		held, starts, perGiB = append(held, gib), append(starts, took.Seconds()), append(perGiB, took.Seconds()/gib)
		puts = append(puts, put.Seconds())
		if os.Getenv("KEEP") != "" {
			return nil
		}
		if err := os.RemoveAll(data); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.out, "\nKilled with %.2f GiB in no file, the log being full (medians)\n", median(held))
	fmt.Fprintf(o.out, "  from exec to the first record that is read %.2f s: %.2f s a GiB; to the first put that finds room %.2f s\n",
		median(starts), median(perGiB), median(puts))
	o.report.limit(fmt.Sprintf("kill with %.2f GiB unflushed: serving again", median(held)), median(perGiB), 3, "%.2f s a GiB")
	return nil
}

// killMemory leaves room for the whole log in memory.
const killMemory = "4GiB"

// fillLog puts until the log is full, kills the server and returns how many GiB of records were taken.
func (o options) fillLog(ctx context.Context, data, wal string) (gib float64, err error) {
	p, err := startHeadrace(ctx, o.headrace, "serve", "--insecure-auth", "--data", data, "--memory", killMemory, "--wal-size", wal)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	if err := p.createStream(ctx, benchShards); err != nil {
		return 0, err
	}
	blocks := filepath.Join(data, "blocks")
	away := blocks + ".away"
	if err := errors.Join(os.Rename(blocks, away), os.WriteFile(blocks, nil, 0o600)); err != nil {
		return 0, err
	}
	requests := putRequests(4, 500)
	cl, err := dial(p.addr)
	if err != nil {
		return 0, err
	}
	defer cl.conn.Close()
	taken := 0
	for err == nil && ctx.Err() == nil {
		q := &requests[taken%len(requests)]
		if err = cl.send(q); err == nil {
			taken++
		}
	}
	// The last put is refused record by record: the log is full.
	if !errors.Is(err, errRefused) {
		return 0, fmt.Errorf("fill log: %w", err)
	}
	p.stop()
	return float64(taken) * 500 * recordBytes / (1 << 30), errors.Join(os.Remove(blocks), os.Rename(away, blocks))
}

// restart starts the server again and returns how long it took until a record was read and until a
// put was answered.
func (o options) restart(ctx context.Context, data, wal string) (read, put time.Duration, err error) {
	port, err := freePort()
	if err != nil {
		return 0, 0, err
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	cmd := exec.CommandContext(ctx, o.headrace, "serve", "--insecure-auth", "--log-level", "error",
		"--data", data, "--memory", killMemory, "--wal-size", wal, "--listen", addr)
	cmd.Stderr = os.Stderr
	begin := time.Now()
	p, err := start(ctx, cmd, addr, "/-/healthy", 2*time.Minute)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	it, err := p.iterator(ctx, "shardId-000000000000", "")
	if err != nil {
		return 0, 0, err
	}
	var page struct{ Records []struct{ Data []byte } }
	if err := p.call(ctx, "GetRecords", map[string]any{"ShardIterator": it, "Limit": 1}, &page); err != nil {
		return 0, 0, err
	}
	if len(page.Records) != 1 || len(page.Records[0].Data) != recordBytes {
		return 0, 0, fmt.Errorf("%d records were read first; want one of %d bytes", len(page.Records), recordBytes)
	}
	read = time.Since(begin)
	put, err = firstPut(ctx, addr, begin)
	return read, put, err
}

// firstPut puts until one is answered, and returns when that was.
func firstPut(ctx context.Context, addr string, begin time.Time) (time.Duration, error) {
	one := putRequests(1, 1)
	for {
		cl, err := dial(addr)
		if err != nil {
			return 0, err
		}
		err = cl.send(&one[0])
		_ = cl.conn.Close()
		if err == nil {
			return time.Since(begin), nil
		}
		if time.Since(begin) > 2*time.Minute || ctx.Err() != nil {
			return 0, fmt.Errorf("no put is answered: %w", err)
		}
		pause(ctx, 5*time.Millisecond)
	}
}
