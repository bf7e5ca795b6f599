// Package samplelog gives tests and benchmarks a web server's access log: the real one that
// HEADRACE_SAMPLE_LOG names, or lines in the same format (Apache combined) from a seeded
// generator, the same for the same seed on every machine. It is not a log parser.
package samplelog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// Env names the environment variable that points to a real access log.
const Env = "HEADRACE_SAMPLE_LOG"

// Lines is how many lines Load generates where no real log is named.
const Lines = 10_000

// Load returns the file that Env names or, where it is unset, Lines generated lines, and says
// which it was.
func Load() (log []byte, source string, err error) {
	if name := os.Getenv(Env); name != "" {
		log, err = os.ReadFile(name)
		if err != nil {
			return nil, "", fmt.Errorf("read the log that %s names: %w", Env, err)
		}
		return log, name, nil
	}
	return Generate(Lines, 1), "seeded generator", nil
}

// Generate returns n lines, each ended by a newline. As in real logs a few clients send most of
// the requests, times rise, and lines run from some 80 to 1,400 bytes.
func Generate(n int, seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 0x6865616472616365))
	now := time.Date(2015, 5, 17, 10, 5, 3, 0, time.UTC)
	var out bytes.Buffer
	out.Grow(n * 240)
	for range n {
		now = now.Add(time.Duration(rng.IntN(60)) * time.Second)
		fmt.Fprintf(&out, "%s - - [%s] \"%s %s HTTP/1.%d\" %d %s \"%s\" \"%s\"\n",
			client(rng), now.Format("02/Jan/2006:15:04:05 -0700"), pick(rng, methods), path(rng), rng.IntN(2),
			statuses[rng.IntN(len(statuses))], size(rng), referer(rng), pick(rng, agents))
	}
	return out.Bytes()
}

var (
	methods  = []string{"GET", "GET", "GET", "GET", "GET", "HEAD", "POST"}
	statuses = []int{200, 200, 200, 200, 200, 304, 301, 404, 206, 500}
	words    = []string{"presentations", "images", "blog", "geekery", "projects", "style2.css", "favicon.ico", "xdotool", "articles", "tags", "été", "q=a%20b"}
	agents   = []string{
		"-",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
		"Mozilla/5.0 (compatible; Examplebot/2.1; +http://www.example.com/bot.html)",
		`UniversalFeedParser/4.2-pre-314-svn +http://feedparser.example/ \"quoted\"`,
		"Tiny Tiny RSS/1.11 (http://tt-rss.example/)",
	}
)

func pick(rng *rand.Rand, from []string) string { return from[rng.IntN(len(from))] }

// client squares a uniform number so that low addresses are frequent.
func client(rng *rand.Rand) string {
	u := rng.Float64()
	k := int(u * u * 1500)
	return fmt.Sprintf("10.%d.%d.%d", k%7, k/7%250, 1+k%200)
}

func path(rng *rand.Rand) string {
	parts := make([]string, 1+rng.IntN(5))
	for i := range parts {
		parts[i] = pick(rng, words)
	}
	p := "/" + strings.Join(parts, "/")
	if rng.IntN(100) == 0 {
		p += "?" + strings.Repeat("session=0123456789abcdef&", rng.IntN(48))
	}
	return p
}

func size(rng *rand.Rand) string {
	if rng.IntN(10) == 0 {
		return "-"
	}
	return fmt.Sprint(rng.IntN(300_000))
}

func referer(rng *rand.Rand) string {
	if rng.IntN(2) == 0 {
		return "-"
	}
	return "http://www.example.com" + path(rng)
}
