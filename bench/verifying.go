package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// shownKey is an access key as headrace shows it.
var shownKey = regexp.MustCompile(`AWS_ACCESS_KEY_ID +(\S+)\s+AWS_SECRET_ACCESS_KEY +(\S+)`)

// believedKey signs calls to a server that believes whoever calls.
func believedKey() key {
	return key{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
}

// startVerifying starts `headrace serve` on a new data directory, with every signature verified, and so
// every body hashed. Its calls are signed with the root key that it shows.
func (o options) startVerifying(ctx context.Context, data string, args ...string) (*process, error) {
	said, err := os.CreateTemp(filepath.Dir(data), "said")
	if err != nil {
		return nil, err
	}
	defer said.Close()
	p, err := o.startData(ctx, said, data, args)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(said.Name())
	if err != nil {
		p.stop()
		return nil, err
	}
	shown := shownKey.FindSubmatch(text)
	if shown == nil {
		p.stop()
		return nil, fmt.Errorf("start a server that verifies: it shows no root key: %q", text)
	}
	p.key = key{string(shown[1]), string(shown[2])}
	return p, nil
}

var nanosColumn = regexp.MustCompile(`([0-9.]+) ns/op`)

// hashing is how long bodies are hashed for one rate.
const hashing = 2 * time.Second

// signatures measures what one signature costs on one core: the hash of the body, which is the floor of
// every server that verifies, and what comes on top of it.
func signatures(ctx context.Context, o options) error {
	var large, small, empty, whole []float64
	for range o.rounds {
		large = append(large, hashRate(min(o.duration, hashing), 1<<20))
		small = append(small, hashRate(min(o.duration, hashing), recordBytes))
		for _, c := range []struct {
			name string
			into *[]float64
		}{{"Verify/no_body", &empty}, {"Verify/1_KiB", &whole}} {
			ns, err := o.benchmark(ctx, "./internal/auth/sigv4", c.name, "1s", nanosColumn)
			if err != nil {
				return err
			}
			*c.into = append(*c.into, ns/1000)
		}
	}
	perKiB := recordBytes / median(small) / 1e3 // microseconds
	fmt.Fprintf(o.out, "\nSignatures, on one core (medians)\n")
	fmt.Fprintf(o.out, "  %-52s %8.2f GB/s\n", "SHA-256 of 1 MiB", median(large))
	fmt.Fprintf(o.out, "  %-52s %8.2f GB/s, %.2f us\n", "SHA-256 of 1 KiB", median(small), perKiB)
	fmt.Fprintf(o.out, "  %-52s %8.2f us\n", "a request of 1 KiB verified, hash and all", median(whole))
	fmt.Fprintf(o.out, "  %-52s %8.2f us\n", "a request without a body verified", median(empty))
	o.report.fact("SHA-256 of bodies, one core: the floor of verification", median(large), "%.2f GB/s")
	o.report.fact("SHA-256 of a body of 1 KiB", perKiB, "%.2f us")
	o.report.limit("verifying a request of 1 KiB, beyond the body's hash", max(median(whole)-perKiB, median(empty)), 5, "%.2f us")
	return nil
}

// hashRate hashes bodies of a size for a while and returns gigabytes a second.
func hashRate(d time.Duration, size int) float64 {
	body := make([]byte, size)
	hashed, begin := 0, time.Now()
	for time.Since(begin) < d {
		for range (1 << 20) / size {
			sum := sha256.Sum256(body)
			body[0] = sum[0] // so that no body is another's
			hashed += size
		}
	}
	return float64(hashed) / 1e9 / time.Since(begin).Seconds()
}
